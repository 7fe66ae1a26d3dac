"""Files that only this process sees and that vanish with it, however it ends: unlinked as soon as they are open."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class RecordFile:
    """A list of small JSON records on disk, appended once and then read."""

    def __init__(self, folder: Path) -> None:
        self._file = scratch_file(folder)

    def append(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")

    def chunks(self, size: int) -> Iterator[list[dict[str, Any]]]:
        """The records in order, `size` at a time."""
        self._file.seek(0)
        chunk: list[dict[str, Any]] = []
        for line in self._file:
            chunk.append(json.loads(line))
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def close(self) -> None:
        self._file.close()


def scratch_file(folder: Path) -> IO[bytes]:
    """A temporary file without a name."""
    return tempfile.TemporaryFile(dir=folder)
