"""The gRPC server that every service builds."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from shared.errors import InvalidArgument, Unavailable
from shared.rpc.channel import open_channel
from shared.rpc.server import Server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_of(channel: grpc.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status)


def test_it_says_whether_it_serves_and_what() -> None:
    server = Server("127.0.0.1:0", threads=2)
    server.start()
    with open_channel(server.address) as channel:
        assert health_of(channel) == SERVING
        server.set_serving(False)
        assert health_of(channel) == NOT_SERVING
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = list(stub.ServerReflectionInfo(asked, timeout=30))
        assert "grpc.health.v1.Health" in {service.name for service in answer.list_services_response.service}
    server.stop(0)


def test_a_port_in_use_is_said_in_words() -> None:
    server = Server("127.0.0.1:0", threads=1)
    server.start()
    with pytest.raises(Unavailable, match="in use"):
        Server(server.address, threads=1)
    server.stop(0)


def test_a_malformed_address_is_refused_by_server_and_channel() -> None:
    with pytest.raises(InvalidArgument, match="FLYWHEEL_LISTEN"):
        Server("nowhere")
    with pytest.raises(InvalidArgument, match="FLYWHEEL_CONTROL_ADDRESS"):
        open_channel("nowhere", field="FLYWHEEL_CONTROL_ADDRESS")
