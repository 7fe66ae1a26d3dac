"""What a caller of imports does."""

from typing import Any

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.repositories import batches
from tests.integration.ingestion.door import Door


def ask(door: Door, uri: str, key: str = "", pipeline: str = "sentiment", **header: Any) -> pb.Import:
    wanted = pb.ImportUriRequest(header=pb.BatchHeader(pipeline=pipeline, batch_key=key, **header), uri=uri)
    answer: pb.Import = door.stub.ImportUri(wanted, timeout=20)
    return answer


def seen(door: Door, asked: pb.Import) -> pb.Import:
    answer: pb.Import = door.stub.GetImport(pb.GetImportRequest(id=asked.id), timeout=20)
    return answer


def run(door: Door, uri: str, key: str = "", **header: Any) -> pb.Import:
    """Asks, lets the importer run all that waits, and tells how it ended."""
    asked = ask(door, uri, key, **header)
    while door.rooms.importer.run_next():
        continue
    return seen(door, asked)


def kept(door: Door, pipeline: str = "sentiment") -> int:
    """How many batches there are."""
    with door.database.read() as session:
        return len(batches.page(session, pipeline, 100, 0))
