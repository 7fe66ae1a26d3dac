"""Calls of the ingestion service."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from shared.client.connection import Connection
from shared.client.data import Batch, DatasetVersion, QuarantinedRow, Row
from shared.client.paging import every
from shared.client.progress import silent
from shared.client.reading import read
from shared.client.uploading import (
    ASK_FIRST_BYTES,
    UPLOAD_SECONDS,
    Progress,
    Row_,
    Upload,
    behind,
    file_messages,
    row_messages,
)
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.storage.digests import file_digest


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
        licence: str = "",
        progress: Progress = silent,
    ) -> Batch:
        """Streams rows as one batch, in bounded memory; `progress` is told how many were sent.

        The same `batch_key` gives the same batch, however often it is sent. A list goes on where the server is when
        the stream was cut; an iterator can't be sent again, and raises Unavailable.
        """
        header = pb.BatchHeader(
            pipeline=pipeline, batch_key=batch_key or uuid.uuid4().hex, source=source, licence=licence
        )
        stub = self._ingestion.stub(IngestionStub)

        def send(offset: int) -> pb.Batch:
            messages = row_messages(behind(header, offset), rows, progress)
            return cast(pb.Batch, stub.AppendRows(messages, timeout=UPLOAD_SECONDS))

        if not isinstance(rows, Sequence):
            return read(Batch, self._ingestion.attempt(lambda: send(0), repeatable=False))
        header.size = len(rows)
        return read(Batch, Upload(self._ingestion, header, send).run(ask_first=False))

    def import_file(
        self,
        pipeline: str,
        path: str | Path,
        *,
        batch_key: str = "",
        source: str = "",
        format: str = "",
        encoding: str = "",
        licence: str = "",
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Batch:
        """Streams a file of rows as one batch; `progress` is told how many bytes were sent.

        JSON Lines, JSON, CSV, TSV, Parquet, text or CoNLL columns, also in gzip, zstd or zip; format and encoding are
        found out when they are not given. Without a `batch_key` the file's SHA-256 is one: the same file twice is one
        batch. A stream that was cut goes on where the server is, also from another process. With `dry_run` nothing is
        kept, and the batch has a `preview`.
        """
        path = Path(path)
        digest, size = file_digest(path), path.stat().st_size
        header = pb.BatchHeader(
            pipeline=pipeline,
            batch_key=batch_key or digest,
            source=source or path.name,
            format=format,
            encoding=encoding,
            filename=path.name,
            size=size,
            dry_run=dry_run,
            licence=licence,
            sha256=digest,
        )
        stub = self._ingestion.stub(IngestionStub)

        def send(offset: int) -> pb.Batch:
            messages = file_messages(behind(header, offset), path, progress)
            return cast(pb.Batch, stub.ImportFile(messages, timeout=UPLOAD_SECONDS))

        if dry_run:
            return read(Batch, self._ingestion.attempt(lambda: send(0)))
        return read(Batch, Upload(self._ingestion, header, send).run(ask_first=size > ASK_FIRST_BYTES))

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

    def dataset_version(self, pipeline: str, version: int = 0, *, languages: bool = False) -> DatasetVersion:
        """The newest sealed one without `version`. With `languages` its statistics tell those of a sample of rows,
        which the service draws when somebody asks for the first time."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.GetDatasetVersionRequest(pipeline=pipeline, version=version, languages=languages)
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
