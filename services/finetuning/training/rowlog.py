"""`rows.log`: which rows each step has trained on, kept exact over interruptions."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

FILE_NAME = "rows.log"


class RowLog:
    """Appends one JSON line a step."""

    def __init__(self, folder: Path, size: int) -> None:
        """Open the log and cut off what came after a checkpoint of `size` bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = (folder / FILE_NAME).open("ab", buffering=0)
        self._file.truncate(size)

    def append(self, step: int, row_ids: Sequence[str]) -> None:
        self._file.write(json.dumps({"step": step, "rows": list(row_ids)}).encode() + b"\n")

    def settle(self) -> int:
        """Flush to disk; the size in bytes, to be kept in the checkpoint."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        self._file.close()
