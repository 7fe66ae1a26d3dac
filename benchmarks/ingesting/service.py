"""The ingestion service in a process of its own, without a broker: what a message would start, a line on standard
input does. `python -m benchmarks.ingesting.service FOLDER exact|whole`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.ingesting.memory import peak_mib
from shared.config import load_settings
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.pipelines.schema import PipelineSpec
from shared.rpc.channel import open_channel
from shared.storage.database import Database
from shared.storage.repositories import pipelines
from shared.storage.tables import Base

WAYS: dict[str, dict[str, Any]] = {
    "exact": {"near_duplicates": {"enabled": False}, "personal_data": {"policy": "off"}, "toxic": "off"},
    "whole": {"near_duplicates": {"enabled": True}, "personal_data": {"policy": "mask"}, "toxic": "flag"},
}
PIECE_BYTES = 1 << 20
HOUR = 3600


def ingest(file: Path, home: Path, way: str) -> dict[str, Any]:
    """Sends the file to a fresh process on `home` and has it seal a dataset version; seconds, CPU seconds, MiB."""
    command = [sys.executable, "-m", "benchmarks.ingesting.service", str(home), way]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    idle = json.loads(process.stdout.readline())
    channel = open_channel(idle["address"])
    begun = perf_counter()
    batch = ingestion_pb2_grpc.IngestionStub(channel).ImportFile(_pieces(file), timeout=HOUR)
    received = perf_counter() - begun
    process.stdin.write("build\n")
    process.stdin.flush()
    built = json.loads(process.stdout.readline())
    sealed = perf_counter() - begun
    channel.close()
    last = json.loads(process.communicate()[0].splitlines()[-1])
    return {
        "way": way,
        "received": batch.received,
        "accepted": batch.accepted,
        "duplicates": batch.duplicates,
        "near_duplicates": batch.near_duplicates,
        "quarantined": batch.quarantined,
        "receive_seconds": round(received, 3),
        "sealed_seconds": round(sealed, 3),
        "rows_per_second": round(batch.received / sealed),
        "idle_mib": idle["peak_mib"],
        **built,
        **last,
    }


def serve(home: Path, way: str) -> None:
    from services.ingestion.rooms import Rooms
    from services.ingestion.servicer import serve as add_service
    from shared.garbage import collect_rarely
    from shared.rpc.server import Server
    from shared.telemetry.logs import configure_logs

    collect_rarely()
    configure_logs("ingestion", level="ERROR")
    settings = load_settings(home=home)
    database = Database(settings.resolved_database_url)
    Base.metadata.create_all(database.engine)
    spec = {"name": "bench", "kind": "classification", "base": "none", "data": WAYS[way]}
    with database.write() as session:
        pipelines.save(session, PipelineSpec.model_validate(spec))
    rooms, server = Rooms(settings, database), Server("127.0.0.1:0")
    add_service(server, rooms, settings.max_row_bytes)
    server.start()
    _say({"address": server.address, "peak_mib": peak_mib()})
    before = process_time()
    sys.stdin.readline()
    receiving, received_mib = process_time() - before, peak_mib()
    version = rooms.builder.build("bench")
    leaks = rooms.catalogue.version("bench", 0).version.leaks
    _say({"version": version, "leaks": leaks, "receive_cpu_seconds": round(receiving, 3), "receive_mib": received_mib})
    server.stop(1)
    _say({"cpu_seconds": round(process_time() - before, 3), "peak_mib": peak_mib()})


def _pieces(file: Path) -> Iterator[pb.ImportFileRequest]:
    yield pb.ImportFileRequest(header=pb.BatchHeader(pipeline="bench", batch_key=file.name, source="benchmark"))
    with file.open("rb") as data:
        while piece := data.read(PIECE_BYTES):
            yield pb.ImportFileRequest(chunk=piece)


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
