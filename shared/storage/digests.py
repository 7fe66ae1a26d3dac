"""SHA-256 of files, in hex; inside `each_file_once` none is read twice."""

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

Stamp = tuple[int, int, int, int, int]
SETTLED_NANOSECONDS = 50_000_000  # file times move in steps of some milliseconds: two writes may look like one
_read: ContextVar[dict[Stamp, str] | None] = ContextVar("files_read", default=None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    read = _read.get()
    with path.open("rb") as file:
        if read is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        about = os.fstat(file.fileno())
        stamp = _stamp(about)
        if stamp in read:
            return read[stamp]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - about.st_ctime_ns > SETTLED_NANOSECONDS:
            read[stamp] = digest
        return digest


@contextmanager
def each_file_once() -> Iterator[None]:
    """While the block runs, a file whose digest was taken in it, and that did not change since, is not read again.

    For work of one go, such as loading a model, whose steps each verify what they use. Threads share it with a copy of
    the context; a block inside another is part of it.
    """
    outer = _read.get()
    token = _read.set({} if outer is None else outer)
    try:
        yield
    finally:
        _read.reset(token)


def _stamp(about: os.stat_result) -> Stamp:
    """Another one whenever the file is written to, or another file takes its name."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
