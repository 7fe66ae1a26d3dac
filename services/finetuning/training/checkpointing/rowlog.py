"""`rows.log`: which rows each step has trained on, kept exact over interruptions."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

FILE_NAME = "rows.log"
CHUNK_BYTES = 1 << 20


class RowLog:
    """Appends one JSON line a step."""

    def __init__(self, folder: Path, size: int) -> None:
        """Open the log and cut off what came after a checkpoint of `size` bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = (folder / FILE_NAME).open("ab", buffering=0)
        if self._file.seek(0, os.SEEK_END) > size:
            self._file.truncate(size)

    def append(self, step: int, row_ids: Sequence[str]) -> None:
        """Raises OSError; part of the line may be there then, until the log is opened again."""
        line = json.dumps({"step": step, "rows": list(row_ids)}).encode() + b"\n"
        while line:  # a disk that is nearly full takes a part without complaint
            line = line[self._file.write(line) :]

    def settle(self) -> int:
        """Flush to disk; the size in bytes, to be kept in the checkpoint."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()


def copy_log(folder: Path, size: int, checkpoint: Path) -> None:
    """Put the first `size` bytes of a folder's log into a checkpoint, for when it is continued on another machine."""
    with (folder / FILE_NAME).open("rb") as log, (checkpoint / FILE_NAME).open("wb") as copy:
        while size and (data := log.read(min(size, CHUNK_BYTES))):
            copy.write(data)
            size -= len(data)


def bring_back(checkpoint: Path, folder: Path) -> None:
    """Make a folder's log what it was at a checkpoint; those of old do not hold it."""
    if (checkpoint / FILE_NAME).exists():
        shutil.copyfile(checkpoint / FILE_NAME, folder / FILE_NAME)
