"""Calls of the ingestion service."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.client.connection import Connection
from shared.client.data import Batch, DatasetVersion, QuarantinedRow, Row
from shared.client.paging import every
from shared.client.reading import read, struct
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub

UPLOAD_SECONDS = 3600.0
"""Deadline of a stream of rows or of a file."""
CHUNK_ROWS = 256
CHUNK_BYTES = 1 << 19
MESSAGE_BYTES = 1 << 20
"""A message of rows is cut before it grows beyond this; the server takes 4 MiB."""

Row_ = Mapping[str, Any]
Progress = Callable[[int], None]


def _silent(done: int) -> None: ...


class IngestionCalls:
    """Rows in, dataset versions out. Raises the errors of shared.errors."""

    _ingestion: Connection

    def append_rows(
        self,
        pipeline: str,
        rows: Iterable[Row_],
        *,
        batch_key: str = "",
        source: str = "client",
        progress: Progress = _silent,
    ) -> Batch:
        """Streams rows as one batch, in bounded memory; `progress` is told how many were sent.

        The same `batch_key` gives the same batch, however often it is sent. A list is sent again when the
        service is away; an iterator can't be, and raises Unavailable.
        """
        header = pb.BatchHeader(pipeline=pipeline, batch_key=batch_key or uuid.uuid4().hex, source=source)
        stub = self._ingestion.stub(IngestionStub)
        again = isinstance(rows, Sequence)

        def send() -> Any:
            return stub.AppendRows(_row_messages(header, rows, progress), timeout=UPLOAD_SECONDS)

        return read(Batch, self._ingestion.attempt(send, repeatable=again))

    def import_file(
        self, pipeline: str, path: str | Path, *, batch_key: str = "", source: str = "", progress: Progress = _silent
    ) -> Batch:
        """Streams a JSON Lines file as one batch; `progress` is told how many bytes were sent.

        Without a `batch_key` the file's SHA-256 is one: the same file twice is one batch.
        """
        path = Path(path)
        key = batch_key or file_digest(path)
        header = pb.BatchHeader(pipeline=pipeline, batch_key=key, source=source or path.name)
        stub = self._ingestion.stub(IngestionStub)

        def send() -> Any:
            return stub.ImportFile(_file_messages(header, path, progress), timeout=UPLOAD_SECONDS)

        return read(Batch, self._ingestion.attempt(send))

    def batch(self, batch: str) -> Batch:
        stub = self._ingestion.stub(IngestionStub)
        return read(Batch, self._ingestion.call(stub.GetBatch, pb.GetBatchRequest(id=batch)))

    def batches(self, pipeline: str = "", limit: int = 50) -> list[Batch]:
        """Newest first."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ListBatchesRequest(pipeline=pipeline)
        return [read(Batch, found) for found in every(self._ingestion, stub.ListBatches, request, "batches", limit)]

    def hold_batch(self, batch: str, reason: str = "") -> Batch:
        """Keeps a batch out of later dataset versions."""
        stub = self._ingestion.stub(IngestionStub)
        return read(Batch, self._ingestion.call(stub.HoldBatch, pb.HoldBatchRequest(id=batch, reason=reason)))

    def release_batch(self, batch: str, reason: str = "") -> Batch:
        """Lets a held batch into the next dataset version."""
        stub = self._ingestion.stub(IngestionStub)
        return read(Batch, self._ingestion.call(stub.ReleaseBatch, pb.ReleaseBatchRequest(id=batch, reason=reason)))

    def dataset_version(self, pipeline: str, version: int = 0) -> DatasetVersion:
        """The newest sealed one without `version`."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.GetDatasetVersionRequest(pipeline=pipeline, version=version)
        return read(DatasetVersion, self._ingestion.call(stub.GetDatasetVersion, request))

    def dataset_versions(self, pipeline: str, limit: int = 50) -> list[DatasetVersion]:
        """Newest first."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ListDatasetVersionsRequest(pipeline=pipeline)
        found = every(self._ingestion, stub.ListDatasetVersions, request, "versions", limit)
        return [read(DatasetVersion, version) for version in found]

    def rows(
        self, pipeline: str, version: int = 0, *, split: str = "", batches: Sequence[str] = (), limit: int = 0
    ) -> Iterator[Row]:
        """Rows of a dataset version, as they are read."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ReadRowsRequest(pipeline=pipeline, version=version, split=split, batches=batches, limit=limit)
        with self._ingestion.errors():
            for row in stub.ReadRows(request, timeout=UPLOAD_SECONDS):
                yield read(Row, row)

    def quarantine(self, pipeline: str, batch: str = "", limit: int = 50) -> list[QuarantinedRow]:
        """Rows that were not accepted, and why."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ListQuarantineRequest(pipeline=pipeline, batch=batch)
        found = every(self._ingestion, stub.ListQuarantine, request, "rows", limit)
        return [read(QuarantinedRow, row) for row in found]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row_messages(header: pb.BatchHeader, rows: Iterable[Row_], progress: Progress) -> Iterator[pb.AppendRowsRequest]:
    yield pb.AppendRowsRequest(header=header)
    chunk, size, sent = pb.RowChunk(), 0, 0
    for row in rows:
        made = struct(row)
        size += made.ByteSize()
        if chunk.rows and (size > MESSAGE_BYTES or len(chunk.rows) == CHUNK_ROWS):
            yield pb.AppendRowsRequest(rows=chunk)
            sent += len(chunk.rows)
            progress(sent)
            chunk, size = pb.RowChunk(), made.ByteSize()
        chunk.rows.append(made)
    if chunk.rows:
        yield pb.AppendRowsRequest(rows=chunk)
    progress(sent + len(chunk.rows))


def _file_messages(header: pb.BatchHeader, path: Path, progress: Progress) -> Iterator[pb.ImportFileRequest]:
    yield pb.ImportFileRequest(header=header)
    sent = 0
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            yield pb.ImportFileRequest(chunk=piece)
            sent += len(piece)
            progress(sent)
