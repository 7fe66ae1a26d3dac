"""Calls about imports and about sources that are followed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.client.connection import Connection
from shared.client.data import Batch
from shared.client.paging import every
from shared.client.reading import read
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.errors import Unavailable

WATCH_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Import:
    """What lies at a URI, on its way in. States: queued, running, succeeded, failed, cancelled; 0 is unknown."""

    id: str
    pipeline: str
    uri: str
    state: str
    reason: str
    bytes: int
    total_bytes: int
    rows: int
    rows_per_second: float
    eta_seconds: float
    batch: Batch | None
    created_at: datetime | None
    finished_at: datetime | None
    source: str

    @property
    def is_over(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Source:
    """A folder, prefix or stream that a pipeline follows. Kinds: folder, s3, redis_stream.

    Of files that could not be taken in, `retrying` are tried again, the first at `next_try_at`; `refused` ones must change.
    """

    pipeline: str
    name: str
    kind: str
    uri: str
    pending: int
    rows: int
    error: str
    seen_at: datetime | None
    retrying: int
    refused: int
    next_try_at: datetime | None


class ImportCalls:
    """What lies at URIs, on its way in. Raises the errors of shared.errors."""

    _ingestion: Connection

    def import_uri(
        self,
        pipeline: str,
        uri: str,
        *,
        batch_key: str = "",
        source: str = "",
        format: str = "",
        encoding: str = "",
        licence: str = "",
    ) -> Import:
        """Asks the service to take in what lies at a URI; it goes on without the caller.

        With a `batch_key` asking again gives the same import. Without one the batch is known by the URI and what lies
        there, so that asking again brings nothing twice.
        """
        header = pb.BatchHeader(
            pipeline=pipeline, batch_key=batch_key, source=source, format=format, encoding=encoding, licence=licence
        )
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ImportUriRequest(header=header, uri=uri)
        return read(Import, self._ingestion.call(stub.ImportUri, request, repeatable=bool(batch_key)))

    def import_of(self, id: str) -> Import:
        """One import."""
        stub = self._ingestion.stub(IngestionStub)
        return read(Import, self._ingestion.call(stub.GetImport, pb.GetImportRequest(id=id)))

    def imports(self, pipeline: str = "", limit: int = 50) -> list[Import]:
        """Newest first."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ListImportsRequest(pipeline=pipeline)
        return [read(Import, found) for found in every(self._ingestion, stub.ListImports, request, "imports", limit)]

    def watch_import(self, id: str) -> Iterator[Import]:
        """The import whenever it has changed, until it has ended; a service that restarts meanwhile is waited for."""
        stub = self._ingestion.stub(IngestionStub)
        while True:
            now = self.import_of(id)
            yield now
            if now.is_over:
                return
            try:
                with self._ingestion.errors():
                    for found in stub.WatchImport(pb.WatchImportRequest(id=id), timeout=WATCH_SECONDS):
                        yield read(Import, found)
            except Unavailable:
                continue
            return

    def cancel_import(self, id: str, reason: str = "") -> Import:
        """Ends an import; nothing of it is kept."""
        stub = self._ingestion.stub(IngestionStub)
        return read(Import, self._ingestion.call(stub.CancelImport, pb.CancelImportRequest(id=id, reason=reason)))

    def sources(self, pipeline: str = "") -> list[Source]:
        """Folders, prefixes and streams that pipelines follow, and where they stand."""
        stub = self._ingestion.stub(IngestionStub)
        answer = self._ingestion.call(stub.ListSources, pb.ListSourcesRequest(pipeline=pipeline))
        return [read(Source, source) for source in answer.sources]
