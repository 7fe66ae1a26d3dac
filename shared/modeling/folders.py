"""Folders that appear whole or not at all: written aside, flushed, renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; at the end it is flushed to disk and takes the target's place.

    On an error nothing is left and the old target, if any, stays. A folder that a killed process left aside is
    overwritten. Raises OSError as the file system does.
    """
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in aside.iterdir():
            flush(path)
        flush(aside)
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
        flush(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def flush(path: Path) -> None:
    """fsync a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file; a full disk is an OSError, as it is for any other file."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        if "os error" in str(error):
            raise OSError(_error_number(str(error)), str(error), str(path)) from None
        raise


def _error_number(message: str) -> int:
    digits = message.rpartition("os error ")[2].rstrip(")")
    return int(digits)
