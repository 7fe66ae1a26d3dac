"""What has come of an upload, on a disk: so that a stream that was cut goes on where it was."""

import fcntl
import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from services.ingestion.reading.limits import PIECE_BYTES
from shared.errors import Aborted, FailedPrecondition, InvalidArgument, Unavailable

BUFFER_BYTES = 256 << 10
"""A small upload touches no disk unless it is cut."""
IDLE_SECONDS = 2.0
"""A stream that sent nothing for so long may be one whose client is gone; another takes its place."""
RECORD = struct.Struct("<II")
"""Before a record of rows: how many they are, and how many bytes."""
FILE, ROWS = "file", "rows"


@dataclass(frozen=True)
class Upload:
    """What the sender says of the whole: a file's bytes or rows, their number if known, a file's SHA-256 if known."""

    kind: str
    size: int = 0
    sha256: str = ""

    def check_same(self, other: Self) -> None:
        """Raises InvalidArgument when the rest of one would be put behind the begin of another."""
        for field in ("kind", "size", "sha256"):
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours and theirs and ours != theirs:
                raise InvalidArgument(
                    f"{field}={theirs!r}: what is here under this batch_key has {ours!r}; it is another upload. "
                    "Send it under a key of its own, or from offset 0",
                    field=field,
                )


class Spool:
    """Bytes in order, written by whoever holds the newest ticket. Thread-safe; other processes keep away."""

    def __init__(self, path: Path, upload: Upload) -> None:
        self.path, self.upload = path, upload
        self.received = 0
        """Bytes of a file, or rows."""
        self._lock = threading.RLock()
        self._file: IO[bytes] | None = None
        self._pending = bytearray()
        self._written = self._ticket = 0
        self._gone = self._is_written = False
        self._touched = 0.0

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What a stream left here; None when there is nothing. Raises Unavailable while another process has it."""
        try:
            facts = json.loads(_facts(path).read_bytes())
            file = path.open("r+b")
        except (OSError, ValueError):
            return None
        spool = cls(path, Upload(**facts))
        try:
            spool._lock_file(file)
        except Unavailable:
            file.close()
            raise
        spool._file = file
        spool._measure(file)
        return spool

    @property
    def length(self) -> int:
        return self._written + len(self._pending)

    def claim(self, offset: int) -> int:
        """A ticket to write behind `offset`; older ones are worth nothing from then on. Raises FailedPrecondition, and
        Unavailable while another stream is busy here."""
        with self._lock:
            if self._is_written and time.monotonic() - self._touched < IDLE_SECONDS and not self._gone:
                raise Unavailable("another stream is sending this upload; it goes on, or ends soon", 0.2)
            if self._gone or offset != self.received:
                received = 0 if self._gone else self.received
                raise FailedPrecondition(
                    f"offset={offset}: this server has {received} {_units(self.upload)} of the batch; go on with offset "
                    f"{received}",
                    offset=received,
                )
            self._ticket += 1
            self._is_written, self._touched = True, time.monotonic()
            return self._ticket

    def append(self, ticket: int, data: bytes, units: int) -> None:
        """Raises Aborted once another stream goes on with the upload, and OSError when the disk is full."""
        with self._lock:
            if ticket != self._ticket:
                raise Aborted("another stream goes on with this upload")
            self._pending += data
            self.received += units
            self._touched = time.monotonic()
            if len(self._pending) >= BUFFER_BYTES:
                self._flush()

    def replay(self) -> Iterator[bytes]:
        """What is here at the time of the call, piece by piece."""
        with self._lock:
            self._flush()
            end, file = self._written, self._file
        assert file is not None
        start = 0
        while start < end:
            piece = os.pread(file.fileno(), min(PIECE_BYTES, end - start), start)
            start += len(piece)
            yield piece

    def records(self) -> Iterator[tuple[bytes, int]]:
        """As `replay`, but in the records of rows that were appended."""
        held = b""
        for piece in self.replay():
            held += piece
            while len(held) >= RECORD.size and len(held) >= (whole := RECORD.size + RECORD.unpack_from(held)[1]):
                yield held[RECORD.size : whole], RECORD.unpack_from(held)[0]
                held = held[whole:]

    def open(self) -> IO[bytes]:
        """All of it, to read and seek in."""
        with self._lock:
            self._flush()
        return self.path.open("rb")

    def keep(self, ticket: int) -> None:
        """Leaves it on the disk, unless another stream has it by now; gone when there is no room."""
        with self._lock:
            if ticket == self._ticket:
                try:
                    self._flush()
                except OSError:
                    self.drop(ticket)
                self._is_written = False
                self._close()

    def drop(self, ticket: int) -> None:
        """Leaves nothing, unless another stream has it by now."""
        with self._lock:
            if ticket == self._ticket and not self._gone:
                self._gone = True
                self._pending.clear()
                if self._file is not None:
                    remove(self.path)
                self._close()

    def holds(self, ticket: int) -> bool:
        return ticket == self._ticket

    def _flush(self) -> None:
        if self._file is None:
            _facts(self.path).write_text(json.dumps(asdict(self.upload)))
            self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            self._lock_file(self._file)
            self._file.truncate(0)
        if self._pending:
            self._file.seek(self._written)
            self._file.write(self._pending)
            self._file.flush()
            self._written += len(self._pending)
            self._pending.clear()

    def _lock_file(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unavailable("another process of this server has a stream of this upload open; try again") from None

    def _measure(self, file: IO[bytes]) -> None:
        """What is whole of it; a process that was killed may have torn a record."""
        size = os.fstat(file.fileno()).st_size
        if self.upload.kind == FILE:
            self._written = self.received = size
            return
        while self._written + RECORD.size <= size:
            rows, length = RECORD.unpack(os.pread(file.fileno(), RECORD.size, self._written))
            if self._written + RECORD.size + length > size:
                break
            self._written += RECORD.size + length
            self.received += rows
        file.truncate(self._written)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def record_of(data: bytes, rows: int) -> bytes:
    """Rows as they are appended to a spool."""
    return RECORD.pack(rows, len(data)) + data


def remove(path: Path) -> None:
    for file in (path, _facts(path)):
        file.unlink(missing_ok=True)


def sweep(folder: Path, keep_seconds: float, keep_bytes: int) -> None:
    """Removes what nobody went on with for too long, then the oldest until the rest fits."""
    kept, now = 0, time.time()
    for path in sorted(folder.glob("*.part"), key=changed_at, reverse=True):
        with suppress(OSError), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if now - changed_at(path) > keep_seconds or kept + size > keep_bytes:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            else:
                kept += size


def changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _facts(path: Path) -> Path:
    return path.with_suffix(".json")


def _units(upload: Upload) -> str:
    return "bytes" if upload.kind == FILE else "rows"
