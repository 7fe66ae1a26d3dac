"""Files that only this process sees and that vanish with it, however it ends: unlinked as soon as they are open."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from shared.storage.ids import new_id

READ_DIGESTS = 4096
CACHE_KIB = 4096


class DigestSet:
    """A set of digests on disk, in constant memory."""

    def __init__(self, folder: Path) -> None:
        path = folder / new_id("digests")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE_KIB}"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.execute("CREATE TABLE digests (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        path.unlink()

    def present(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of at most some thousand digests that are in the set."""
        marks = ",".join("?" * len(digests))
        found = self._connection.execute(f"SELECT digest FROM digests WHERE digest IN ({marks})", digests)
        return {digest for (digest,) in found}

    def add(self, digests: Sequence[bytes]) -> None:
        """Adds digests that are not in the set."""
        self._connection.execute("BEGIN")
        self._connection.executemany("INSERT INTO digests VALUES (?)", [(digest,) for digest in digests])
        self._connection.execute("COMMIT")

    def chunks(self) -> Iterator[list[bytes]]:
        """All of them in order, a few thousand at a time."""
        found = self._connection.execute("SELECT digest FROM digests ORDER BY digest")
        while rows := found.fetchmany(READ_DIGESTS):
            yield [digest for (digest,) in rows]

    def close(self) -> None:
        self._connection.close()


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
