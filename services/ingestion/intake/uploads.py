"""Uploads on their way in: a stream that was cut goes on where it was, and nobody sees half of it."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Generic, NamedTuple, TypeVar

from services.ingestion.intake.spool import FILE, ROWS, Spool, Upload, changed_at, record_of, remove, sweep
from services.ingestion.reading.content import Stream
from shared.errors import DataCorrupted, FailedPrecondition, FlywheelError, InvalidArgument, Unavailable
from shared.storage.database import Database
from shared.storage.repositories import batches, pipelines
from shared.storage.tables import Batch

M = TypeVar("M")
KEEP_SECONDS = 3600.0
"""Time to go on with what was cut."""
KEEP_BYTES = 8 << 30
"""Of all that were cut; the oldest make room."""
MOST_BYTES = 4 << 30
"""Of one upload that is kept on a disk; a larger stream is read as it comes, and can't go on once it is cut."""
SWEEP_SECONDS = 60.0


class Held(NamedTuple):
    """How much of a batch is here: all of it as a batch, or the begin, until `expires_at`."""

    received: int
    batch: Batch | None = None
    expires_at: datetime | None = None


class Uploads:
    """The uploads of one folder. Thread-safe."""

    def __init__(self, database: Database, folder: Path, scratch: Path) -> None:
        self._database, self._folder, self.scratch = database, folder, scratch
        for path in (folder, scratch):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open: dict[Path, Spool] = {}
        self._swept = -SWEEP_SECONDS

    def held(self, pipeline: str, batch_key: str) -> Held:
        """Raises Unavailable while another process of this server writes it."""
        with self._database.read() as session:
            batch = batches.by_key(session, pipeline, batch_key)
        if batch is not None:
            return Held(0, batch)
        path = self._path(pipeline, batch_key)
        with self._lock:
            spool = self._open.get(path) or Spool.load(path)
            if spool is None:
                return Held(0)
            changed = time.time()
            if path not in self._open:
                changed = changed_at(path)
                spool.keep(0)
        return Held(spool.received, expires_at=datetime.fromtimestamp(changed + KEEP_SECONDS, UTC))

    @property
    def open(self) -> int:
        """How many streams write here now."""
        return len(self._open)

    def product_fields(self, pipeline: str) -> Mapping[str, str]:
        """The product's name of a field by ours. Raises NotFound."""
        with self._database.read() as session:
            return pipelines.spec(session, pipeline).data.fields

    @contextmanager
    def file(
        self, pipeline: str, batch_key: str, upload: Upload, offset: int, stream: Iterator[bytes]
    ) -> Iterator["IncomingFile"]:
        """A file's bytes: what is here already, then the stream's. Kept for another stream when this one is cut."""
        incoming = IncomingFile(Place(self, self._path(pipeline, batch_key), upload, offset), stream)
        with incoming.place.kept_when_cut():
            yield incoming

    @contextmanager
    def rows(
        self,
        pipeline: str,
        batch_key: str,
        upload: Upload,
        offset: int,
        stream: Iterator[M],
        coder: "Coder[M]",
    ) -> Iterator[Iterator[M]]:
        """Messages of rows: what is here already, then the stream's. Kept for another stream when this one is cut."""
        place = Place(self, self._path(pipeline, batch_key), upload, offset)
        with place.kept_when_cut():
            yield _messages(place, stream, coder)

    def begin(self, path: Path, upload: Upload, offset: int) -> tuple[Spool | None, int]:
        """The spool behind `offset` and a ticket to write there; none while another stream that began anew has it.

        Raises FailedPrecondition that tells the right offset, and InvalidArgument when it is another upload's.
        """
        self._sweep()
        with self._lock:
            spool = self._open.get(path)
            if offset == 0:
                if spool is not None:
                    return None, 0
                remove(path)
                spool = Spool(path, upload)
            elif spool is None:
                spool = Spool.load(path)
                if spool is None:
                    message = f"offset={offset}: this server has nothing of the batch; go on with offset 0"
                    raise FailedPrecondition(message, offset=0)
            try:
                spool.upload.check_same(upload)
                ticket = spool.claim(offset)
            except FlywheelError:
                if path not in self._open:
                    spool.keep(0)
                raise
            self._open[path] = spool
            return spool, ticket

    def end(self, spool: Spool, ticket: int, keep: bool) -> None:
        """Leaves the spool for another stream, or nothing of it."""
        with self._lock:
            if spool.holds(ticket):
                (spool.keep if keep else spool.drop)(ticket)
                if self._open.get(spool.path) is spool:
                    del self._open[spool.path]

    def _path(self, pipeline: str, batch_key: str) -> Path:
        digest = hashlib.sha256(f"{pipeline}\0{batch_key}".encode(errors="replace")).hexdigest()
        return self._folder / f"{digest[:40]}.part"

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept > SWEEP_SECONDS:
            self._swept = now
            sweep(self._folder, KEEP_SECONDS, KEEP_BYTES)


class Place:
    """Where a stream writes, from its first piece on; and what becomes of it at its end."""

    def __init__(self, uploads: Uploads, path: Path, upload: Upload, offset: int) -> None:
        self._uploads, self._path, self.upload, self._offset = uploads, path, upload, offset
        self.spool: Spool | None = None
        self._ticket = 0
        self._cut = False
        self.needs_all = False
        """The whole is read again, so that it can't be too large to keep."""

    @property
    def scratch(self) -> Path:
        return self._uploads.scratch

    def begin(self) -> Spool | None:
        if self._offset < 0:
            raise InvalidArgument(f"offset={self._offset} is below 0", field="offset")
        self.spool, self._ticket = self._uploads.begin(self._path, self.upload, self._offset)
        return self.spool if self._offset else None

    def arriving(self, stream: Iterator[M]) -> Iterator[M]:
        """The stream; remembers whether it was cut."""
        while True:
            try:
                one = next(stream)
            except StopIteration:
                return
            except FlywheelError:
                raise
            except BaseException:
                self._cut = True
                raise
            yield one

    def append(self, data: bytes, units: int) -> None:
        if self.spool is None:
            return
        if self.spool.length + len(data) > MOST_BYTES:
            if self.needs_all:
                message = (
                    f"a file of this format may have {MOST_BYTES} bytes; send it in parts, or import it by its URI"
                )
                raise InvalidArgument(message, field="chunk")
            self._uploads.end(self.spool, self._ticket, keep=False)
            self.spool = None
        else:
            self.spool.append(self._ticket, data, units)

    def check_whole(self, received: int, unit: str) -> None:
        """Raises Unavailable when the stream ended before its end, and InvalidArgument when it went on behind it."""
        size = self.upload.size
        if size and received < size:
            message = f"the upload was cut at {received} of {size} {unit}; go on there"
            raise Unavailable(message, 0.1, offset=received if self.spool else 0)
        if size and received > size:
            raise InvalidArgument(f"size={size}: {received} {unit} came", field="size")

    @contextmanager
    def kept_when_cut(self) -> Iterator[None]:
        """Another stream may go on after a cut, or when a part of the platform was away; else nothing stays."""
        keep = False
        try:
            yield
        except BaseException as error:
            keep = self._cut or isinstance(error, Unavailable)
            raise
        finally:
            if self.spool is not None:
                self._uploads.end(self.spool, self._ticket, keep)


class IncomingFile(Stream):
    """A file's content as it arrives; see `reading.content`."""

    def __init__(self, place: Place, stream: Iterator[bytes]) -> None:
        super().__init__(self._coming(stream), place.scratch)
        self.place = place

    def whole(self) -> IO[bytes]:
        self.place.needs_all = True
        self.head(1)  # the place is known from then on
        if self.place.spool is None:
            return super().whole()
        for _ in self.pieces():
            pass
        return self.place.spool.open()

    def _coming(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        place, digest, received = self.place, hashlib.sha256(), 0
        begun = place.begin()
        if begun is not None:
            for piece in begun.replay():
                digest.update(piece)
                received += len(piece)
                yield piece
        for piece in place.arriving(stream):
            place.append(piece, len(piece))
            digest.update(piece)
            received += len(piece)
            yield piece
        place.check_whole(received, "bytes")
        if place.upload.sha256 and digest.hexdigest() != place.upload.sha256:
            raise DataCorrupted("what arrived is not the file whose sha256 the header has; send it from offset 0")


class Coder(Generic[M]):
    """Between a message of rows and what is kept of it."""

    def __init__(self, encode: Callable[[M], bytes], decode: Callable[[bytes], M], count: Callable[[M], int]) -> None:
        self.encode, self.decode, self.count = encode, decode, count


def _messages(place: Place, stream: Iterator[M], coder: Coder[M]) -> Iterator[M]:
    received = 0
    begun = place.begin()
    if begun is not None:
        for data, rows in begun.records():
            received += rows
            yield coder.decode(data)
    for message in place.arriving(stream):
        rows = coder.count(message)
        place.append(record_of(coder.encode(message), rows), rows)
        received += rows
        yield message
    place.check_whole(received, "rows")


def file_upload(size: int, sha256: str) -> Upload:
    """Raises InvalidArgument for what can't be a file's size or digest."""
    if size < 0:
        raise InvalidArgument(f"size={size} is below 0", field="size")
    if sha256 and (len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef")):
        raise InvalidArgument(f"sha256={sha256[:80]!r} must be 64 digits of lower-case hex", field="sha256")
    return Upload(FILE, size, sha256)


def rows_upload(size: int) -> Upload:
    """Raises InvalidArgument for what can't be a number of rows."""
    if size < 0:
        raise InvalidArgument(f"size={size} is below 0", field="size")
    return Upload(ROWS, size)
