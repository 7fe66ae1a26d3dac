"""`python -m benchmarks.noop_server FOLDER`: the inference service on a model that computes nothing, and a bare echo.

Prints their addresses as one line of JSON and serves until it is ended. The other side of `benchmarks.overhead`.
"""

import json
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from services.inference.application import Application
from services.inference.engine.batcher import Ticket
from services.inference.engine.interface import Load
from services.inference.kinds.base import Served
from services.inference.kinds.classification import Classifier
from services.inference.models.lineage import Lineage, VersionRecord
from shared.config import load_settings
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.storage.database import Database, clock
from shared.storage.migrate import migrate
from shared.storage.repositories import models
from shared.storage.tables import Pipeline
from shared.telemetry.logs import configure_logs

THREADS = 320  # as many as the service has


class NoOp(Classifier):
    """Gives every text the same probabilities at once."""

    engine_name = "noop"
    memory_bytes = 0
    healthy = True

    def __init__(self) -> None:
        self.labels = ("negative", "neutral", "positive")
        self.threshold = None

    def submit(self, texts: Sequence[str], deadline: float | None) -> Ticket[list[list[float]]]:
        return Ticket((), lambda rows: [[0.2, 0.3, 0.5]] * len(texts))

    def probe(self) -> None: ...

    def load(self) -> Load:
        return Load()

    def close(self, grace_seconds: float = 0.0) -> None: ...


class NoOpLoader:
    """Loads nothing."""

    def memory_needed(self, record: VersionRecord) -> int:
        return 0

    def load(self, record: VersionRecord) -> tuple[Served, Lineage]:
        return NoOp(), replace(record.lineage, engine="noop")


def main() -> None:
    folder = Path(sys.argv[1])
    configure_logs("inference", "json", "WARNING")
    settings = load_settings(home=folder, database_url=f"sqlite:///{folder / 'flywheel.db'}", device="cpu", threads=1)
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    _declare(database)
    echo, address = _echo_server()
    application = Application(settings, database, NoOpLoader())
    application.start()
    print(json.dumps({"inference": application.address, "echo": address}), flush=True)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stopping.wait()
    application.stop()
    echo.stop(None)


def _declare(database: Database) -> None:
    with database.write() as session:
        now = clock(session)
        spec = {"name": "noop", "kind": "classification", "base": "none"}
        session.add(Pipeline(name="noop", revision=1, spec=spec, created_at=now, updated_at=now))
        session.flush()
        names = ("kind", "method", "base", "base_digest", "weights_uri", "weights_digest", "job", "run")
        columns: dict[str, Any] = dict.fromkeys(names, "none")
        models.add_version(session, **{**columns, "model": "noop", "kind": "classification", "dataset_version": 1})
        models.move_alias(session, "noop", "champion", 1, "promotion", "benchmark", "")


def _echo_server() -> tuple[grpc.Server, str]:
    """A server with one method that gives the request back; its address."""
    method = grpc.unary_unary_rpc_method_handler(
        lambda request, context: request,
        request_deserializer=pb.ClassifyRequest.FromString,
        response_serializer=pb.ClassifyRequest.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"


if __name__ == "__main__":
    main()
