from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from services.control.servicer import ControlServicer, register
from shared.config import Settings, load_settings
from shared.contracts.generated.flywheel.control.v1 import control_pb2_grpc
from shared.rpc.channel import open_channel
from shared.rpc.server import Server
from shared.storage.database import Database

Serve = Callable[[Database], control_pb2_grpc.ControlStub]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Embedded, with a broker that is not there."""
    return load_settings(home=tmp_path / "home", broker_url="redis://127.0.0.1:1/0")


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Starts the service on a database and gives a stub for it."""
    servers: list[Server] = []
    channels: list[grpc.Channel] = []

    def start(database: Database) -> control_pb2_grpc.ControlStub:
        server = Server("127.0.0.1:0")
        register(server, ControlServicer(settings, database))
        server.start()
        channels.append(open_channel(server.address, retries=False))
        servers.append(server)
        return control_pb2_grpc.ControlStub(channels[-1])

    yield start
    for channel in channels:
        channel.close()
    for server in servers:
        server.stop(2)


@pytest.fixture
def control(serve: Serve, database: Database) -> control_pb2_grpc.ControlStub:
    """The service on SQLite."""
    return serve(database)
