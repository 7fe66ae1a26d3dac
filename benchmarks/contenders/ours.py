"""The real inference service in a process of its own, with a pipeline whose base model answers."""

import sys
from contextlib import ExitStack
from json import loads
from pathlib import Path

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.processes import ProcessGroup
from shared.config import PREFIX
from shared.storage.database import Database, clock
from shared.storage.migrate import migrate
from shared.storage.tables import Pipeline

MODEL = "bench"


def start_ours(model: Path, folder: Path, threads: int, name: str = "ours", **settings: object) -> Contender:
    """`settings` are those of shared.config; `threads` compute, of which the machine has few."""
    home = folder / name
    home.mkdir()
    url = f"sqlite:///{home / 'flywheel.db'}"
    _declare(url, model)
    fields = {"home": home, "database_url": url, "threads": threads, "log_level": "WARNING", **settings}
    environment = {PREFIX + field.upper(): str(value) for field, value in fields.items()}
    with ExitStack() as started:
        server = ProcessGroup([sys.executable, "-m", "services.inference"], folder / f"{name}.log", environment)
        started.callback(server.stop)
        address = loads(server.read_line())["address"]
        client = start_client("grpc", address, folder / f"{name}-client.log", started)
        contender = Contender(name, client, [server], address)
        started.pop_all()
    return contender


def start_client(protocol: str, address: str, log: Path, started: ExitStack) -> ProcessGroup:
    """A load client for a server that has just been started."""
    client = ProcessGroup([sys.executable, "-m", "benchmarks.load", protocol, address, MODEL], log)
    started.callback(client.stop)
    return client


def _declare(url: str, base: Path) -> None:
    migrate(url)
    database = Database(url)
    with database.write() as session:
        now = clock(session)
        spec = {"name": MODEL, "kind": "chat", "base": str(base)}
        session.add(Pipeline(name=MODEL, revision=1, spec=spec, created_at=now, updated_at=now))
    database.close()
