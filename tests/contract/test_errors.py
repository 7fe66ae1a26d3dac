"""Every error of ours, through a real gRPC server and back."""

from collections.abc import Iterator

import grpc
import pytest

from shared import errors
from shared.errors import FlywheelError, RetryableError
from shared.rpc.channel import open_channel
from shared.rpc.server import Server
from shared.rpc.status import CODES, from_rpc_error

METHOD = "/flywheel.tests.v1.Failing/Fail"


def every_error(kind: type[FlywheelError] = FlywheelError) -> list[type[FlywheelError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in every_error(child))]


OURS = [kind for kind in every_error() if kind.__module__ == errors.__name__]


class Failing(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Raises the error that the request names; anything else is a bug in the server."""

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self.fail)

    def fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        kind = getattr(errors, request.decode(), None)
        if kind is None:
            raise KeyError("the password is hunter2")
        if issubclass(kind, RetryableError):
            raise kind("come back", 2.5, queue="ingestion")
        raise kind("field is wrong", field="page_size")


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    server = Server("127.0.0.1:0", threads=2)
    server.grpc.add_generic_rpc_handlers((Failing(),))
    server.start()
    with open_channel(server.address, retries=False) as opened:
        yield opened
    server.stop(0)


def call(channel: grpc.Channel, name: str) -> FlywheelError:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD, bytes, bytes)(name.encode(), timeout=30)
    return from_rpc_error(caught.value)


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_code_and_survives_the_wire(kind: type[FlywheelError], channel: grpc.Channel) -> None:
    assert kind in CODES
    seen = call(channel, kind.__name__)
    assert type(seen) is kind
    if isinstance(seen, RetryableError):
        assert (seen.message, seen.retry_seconds, seen.metadata) == ("come back", 2.5, {"queue": "ingestion"})
    else:
        assert (seen.message, seen.metadata) == ("field is wrong", {"field": "page_size"})


def test_reasons_are_unique_words() -> None:
    assert len({kind.reason for kind in OURS}) == len(OURS)


def test_a_bug_in_the_server_is_internal_and_tells_nothing(channel: grpc.Channel) -> None:
    seen = call(channel, "Bug")
    assert type(seen) is FlywheelError
    assert "hunter2" not in seen.message
