"""Clients that ask too much, say nonsense, or hold on for ever."""

import collections
import contextlib
import gzip
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import psutil
import pytest

from shared.config import load_settings
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
from shared.errors import FlywheelError, InvalidArgument, ResourceExhausted
from shared.rpc import guard, passage
from shared.rpc.limits import Limits
from shared.rpc.probe import is_serving
from shared.rpc.security import Security
from shared.rpc.status import from_rpc_error
from tests.integration.security.world import World, classify, generate
from tests.support.http2 import ACK, GOAWAY, PING, PREFACE, RawClient
from tests.support.wait import eventually

Serve = Callable[..., World]
CLASSIFY = "/flywheel.inference.v1.Inference/Classify"
GENERATE = "/flywheel.inference.v1.Inference/Generate"
MIB = 1 << 20


def refused(act: Callable[[], object]) -> FlywheelError:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return from_rpc_error(caught.value)


def bare(world: World) -> Any:
    """`Classify` with bytes, through a client without limits."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", MIB)]
    channel = grpc.insecure_channel(world.address, options=options)
    world._channels.append(channel)
    return channel.unary_unary(CLASSIFY, bytes, bytes)


def test_a_message_above_the_limit_is_refused_and_the_connection_lives_on(serve: Serve) -> None:
    world = serve(message_bytes=MIB)
    call = bare(world)
    assert isinstance(refused(lambda: call(b"\x12" + b"\x00" * MIB, timeout=10)), ResourceExhausted)
    assert call(b"", timeout=10) == b""


def test_the_limit_is_a_setting_of_both_sides(serve: Serve) -> None:
    wide = Limits.of(load_settings(max_message_bytes=8 * MIB)).message_bytes
    world = serve(message_bytes=wide)
    request = pb.ClassifyRequest(texts=["x" * 5 * MIB])
    assert InferenceStub(world.channel(message_bytes=wide)).Classify(request, timeout=20) == pb.ClassifyResponse()
    error = refused(lambda: InferenceStub(world.channel()).Classify(request, timeout=20))
    assert isinstance(error, ResourceExhausted), "a client of the default limit does not even send it"


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x12\x02\xff\xfe", b"\x12\x7f", b"\x0a\x01"])
def test_a_message_that_is_none_is_an_invalid_argument(body: bytes, serve: Serve) -> None:
    error = refused(lambda: bare(serve())(body, timeout=10))
    assert isinstance(error, InvalidArgument)
    assert "not a message of its type" in error.message


def test_fields_from_a_later_version_are_passed_over(serve: Serve) -> None:
    assert bare(serve())(b"\x12\x02ok\xfa\x3e\x03abc", timeout=10) == b""


def test_metadata_above_the_limit_is_refused(serve: Serve) -> None:
    call = bare(serve())
    for length in (17_000, 300_000):
        with pytest.raises(grpc.RpcError):
            call(b"", timeout=10, metadata=[("x-much", "y" * length)])
    assert call(b"", timeout=10, metadata=[("x-much", "y" * 8_000)]) == b""


def test_a_compression_bomb_is_not_unpacked(serve: Serve) -> None:
    world = serve()
    bomb = gzip.compress(b"\0" * (50 * MIB))
    assert len(bomb) < 64 << 10
    before = psutil.Process().memory_info().rss
    client = RawClient(world.port)
    client.call(CLASSIFY, grpc_encoding="gzip")
    client.message(bomb, compressed=True)
    ended = next(frame for frame in client.frames() if b"grpc-status" in frame.payload)
    client.close()
    assert b"disabled" in ended.payload
    assert psutil.Process().memory_info().rss - before < 25 * MIB


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        os.urandom(4096),
        PREFACE + os.urandom(4096),
        PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    ],
    ids=["http1", "tls", "random", "preface and random", "frame of 16 MiB"],
)
def test_bytes_that_are_not_http2_end_their_connection_only(noise: bytes, serve: Serve) -> None:
    world = serve(handshake=1.0)
    stream = generate(world.channel(), timeout=30)
    next(stream)
    with socket.create_connection(("127.0.0.1", world.port), 10) as client:
        client.sendall(noise)
        with contextlib.suppress(ConnectionError):
            while client.recv(4096):
                pass
    next(stream)
    stream.cancel()


def test_a_client_that_connects_and_says_nothing_is_let_go(serve: Serve) -> None:
    world = serve(handshake=0.3)
    with socket.create_connection(("127.0.0.1", world.port), 10) as client, contextlib.suppress(ConnectionError):
        while client.recv(4096):
            pass


def test_ten_thousand_connections_that_come_and_go_leave_nothing_behind(serve: Serve) -> None:
    world = serve()
    channel = world.channel()
    classify(channel)
    before = psutil.Process().num_fds()
    for _ in range(10_000):
        client = socket.create_connection(("127.0.0.1", world.port), 10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert classify(channel) == ""
    assert classify(world.channel()) == ""
    eventually(lambda: psutil.Process().num_fds() < before + 10)


def test_calls_beyond_the_servers_places_are_refused_at_once_and_health_still_answers(serve: Serve) -> None:
    world = serve(threads=3)
    channel = world.channel()
    world.inference.leave.clear()
    calling = [threading.Thread(target=classify, args=(channel,)) for _ in range(3)]
    for thread in calling:
        thread.start()
    for _ in calling:
        assert world.inference.entered.acquire(timeout=10)
    errors = [refused(lambda: classify(channel)) for _ in range(5)]
    assert {type(error) for error in errors} == {ResourceExhausted}
    assert errors[0].message == "this server answers 3 calls at once, and has them"
    assert is_serving(world.address, 5)
    world.inference.leave.set()
    for thread in calling:
        thread.join()
    assert classify(channel) == ""


def test_a_crowd_on_one_connection_is_refused_and_not_held_back_unseen(serve: Serve) -> None:
    """Clients queue in silence what exceeds the calls that a connection takes."""
    world = serve(threads=2)
    channel = world.channel()
    world.inference.leave.clear()
    crowd = [InferenceStub(channel).Classify.future(pb.ClassifyRequest(), timeout=20) for _ in range(60)]
    eventually(lambda: sum(call.done() for call in crowd) == 58)
    world.inference.leave.set()
    codes = collections.Counter(call.code() for call in crowd)
    assert codes == {grpc.StatusCode.OK: 2, grpc.StatusCode.RESOURCE_EXHAUSTED: 58}


def test_a_call_without_its_request_is_let_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage, "REQUEST_SECONDS", 0.5)
    world = serve(threads=2)
    client = RawClient(world.port)
    client.call(CLASSIFY, stream=1)
    client.call(CLASSIFY, stream=3)
    channel = world.channel()
    eventually(lambda: isinstance(_error_or_none(channel), ResourceExhausted))
    assert is_serving(world.address, 5)
    eventually(lambda: _error_or_none(channel) is None)
    client.close()


def test_strangers_take_no_place_of_those_with_a_key(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reflection is open, and a stream: forty that say nothing are more than all spare threads."""
    monkeypatch.setattr(guard, "OPEN_SECONDS", 0.5)
    world = serve(Security(api_keys="[{key: the-key-of-acme-0123, tenant: acme}]"), threads=2)
    client = RawClient(world.port)
    for number in range(40):
        client.call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", stream=2 * number + 1)
    known = Security(api_key="the-key-of-acme-0123")
    assert [classify(world.channel(known)) for _ in range(20)] == ["acme"] * 20
    eventually(lambda: is_serving(world.address, 5))
    client.close()


def test_a_call_that_ends_without_a_request_is_an_invalid_argument(serve: Serve) -> None:
    call = serve().channel().stream_unary(CLASSIFY, bytes, bytes)
    assert isinstance(refused(lambda: call(iter(()), timeout=10)), InvalidArgument)


def _error_or_none(channel: grpc.Channel) -> FlywheelError | None:
    try:
        classify(channel)
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


def test_our_clients_pings_are_never_too_many(serve: Serve) -> None:
    world = serve(keepalive=0.4)
    channel = world.channel(keepalive=0.4)
    seen: list[grpc.ChannelConnectivity] = []
    channel.subscribe(seen.append)
    classify(channel)
    for quiet in (0.9, 0.9, 0.9):
        time.sleep(quiet)  # idle, with pings on both sides; nothing else is there to wait for
        classify(channel)
    ready = seen.index(grpc.ChannelConnectivity.READY)
    assert seen[ready:] == [grpc.ChannelConnectivity.READY]


def test_a_flood_of_pings_ends_its_connection(serve: Serve) -> None:
    client = RawClient(serve(keepalive=60.0).port)
    with contextlib.suppress(ConnectionError):  # it may be closed before the last ping
        for number in range(20):
            client.send(PING, number.to_bytes(8, "big"))
    told = [frame.payload for frame in client.frames() if frame.kind == GOAWAY]  # a timeout where it is not closed
    client.close()
    assert all(b"too_many_pings" in payload for payload in told), "the reset that follows may overtake the words"


def test_a_half_open_connection_frees_its_stream(serve: Serve) -> None:
    """The client's machine is gone: nothing is read, no ping is answered, and nobody says so."""
    world = serve(keepalive=0.5, keepalive_timeout=0.5)
    client = RawClient(world.port)
    client.call(GENERATE)
    client.message(b"\x0a\x08\x0a\x06helper")
    eventually(lambda: world.inference.running == 1)
    eventually(lambda: world.inference.running == 0)
    client.close()


def stops_growing(world: World) -> int:
    """How many chunks were made when flow control has stopped the stream."""

    def still() -> bool:
        before = world.inference.sent
        time.sleep(0.2)
        return 0 < before == world.inference.sent

    eventually(still)
    return world.inference.sent


def test_a_client_that_never_reads_gets_no_more_than_its_window_and_its_deadline_frees_the_thread(
    serve: Serve,
) -> None:
    world = serve()
    stream = generate(world.channel(), timeout=2.0)
    chunks = stops_growing(world)
    assert chunks < 4096, "16 MiB of chunks for nobody"
    eventually(lambda: world.inference.running == 0)
    stream.cancel()


def test_a_client_that_never_reads_and_sets_no_deadline_is_ended_by_the_server(serve: Serve) -> None:
    """It answers pings, so that keepalive finds it well."""
    world = serve(call=1.0)
    client = RawClient(world.port)
    client.send(4, flags=ACK)
    client.call(GENERATE)
    client.message(b"\x0a\x08\x0a\x06helper")
    eventually(lambda: world.inference.running == 1)
    assert stops_growing(world) < 100
    eventually(lambda: world.inference.running == 0)
    client.close()


def test_connections_are_renewed_and_streams_that_run_go_on(serve: Serve) -> None:
    world = serve(connection_age=0.5)
    channel = world.channel()
    seen: list[grpc.ChannelConnectivity] = []
    channel.subscribe(seen.append)
    stream = generate(channel, timeout=30)
    next(stream)
    eventually(lambda: classify(channel) == "" and seen.count(grpc.ChannelConnectivity.READY) >= 3)
    next(stream)
    stream.cancel()
