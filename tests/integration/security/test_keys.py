"""API keys at the door: who is let in, to what, how often."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client import REGISTRY

from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2_grpc, serving_pb2, serving_pb2_grpc
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2, ingestion_pb2_grpc
from shared.errors import FlywheelError, PermissionDenied, ResourceExhausted, Unauthenticated
from shared.rpc.probe import is_serving
from shared.rpc.security import OPEN, Security
from shared.rpc.status import from_rpc_error
from tests.integration.security.world import World, classify, generate
from tests.support.certificates import Authority
from tests.support.wait import eventually

Serve = Callable[..., World]
KEYS = """
- {key: the-key-of-acme-0123, tenant: acme, models: [mood, helper], priority_max: 5, roles: [call, ingest]}
- {key: the-key-of-operators, tenant: operators, roles: [operate]}
- {key: the-key-of-the-rest-, tenant: rest}
- {key: the-key-of-the-slow1, tenant: slow, requests_per_second: 0.05, burst: 2}
- {key: the-key-of-the-short, tenant: short, tokens_per_minute: 60}
- {key: the-key-of-the-lone1, tenant: lone, concurrent: 1}
"""
ACME, OPERATORS, REST, SLOW, SHORT, LONE = (
    Security(api_key=f"the-key-of-{name}")
    for name in ("acme-0123", "operators", "the-rest-", "the-slow1", "the-short", "the-lone1")
)
LOADED = serving_pb2.GetLoadRequest()


@pytest.fixture
def world(serve: Serve) -> World:
    return serve(Security(api_keys=KEYS))


def refused(act: Callable[[], object]) -> FlywheelError:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return from_rpc_error(caught.value)


def test_the_key_tells_the_tenant(world: World) -> None:
    assert classify(world.channel(ACME)) == "acme"
    assert world.inference.logged == {"tenant": "acme"}
    assert classify(world.channel(), metadata=[("x-api-key", REST.api_key)]) == "rest"
    assert classify(world.channel(), metadata=[("authorization", f"bearer {REST.api_key}")]) == "rest"


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        [("authorization", "Bearer the-key-of-acme-012")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic the-key-of-acme-0123")],
        [("authorization", "the-key-of-acme-0123")],
        [("x-api-key", "")],
        [("x-api-key", "Bearer the-key-of-acme-0123")],
        [("x-api-key-bin", b"\xff\x00")],
    ],
)
def test_without_a_known_key_nobody_is_let_in(world: World, metadata: Any) -> None:
    error = refused(lambda: classify(world.channel(), metadata=metadata))
    assert isinstance(error, Unauthenticated)
    assert "the-key" not in error.message


def test_a_role_opens_its_services_only(world: World) -> None:
    load = serving_pb2_grpc.ServingStub(world.channel(REST)).GetLoad
    error = refused(lambda: load(LOADED, timeout=30))
    assert isinstance(error, PermissionDenied)
    assert error.message.endswith("needs a key with the role operate; this one of 'rest' has call")
    assert isinstance(refused(lambda: classify(world.channel(OPERATORS))), PermissionDenied)
    rows = ingestion_pb2_grpc.IngestionStub(world.channel(REST)).AppendRows
    assert isinstance(refused(lambda: rows(iter(()), timeout=30)), PermissionDenied)
    assert serving_pb2_grpc.ServingStub(world.channel(OPERATORS)).GetLoad(LOADED, timeout=30) == serving_pb2.Load()


def test_a_key_with_models_reaches_no_other(world: World) -> None:
    channel = world.channel(ACME)
    assert classify(channel, "mood") == "acme"
    error = refused(lambda: classify(channel, "secret"))
    assert isinstance(error, PermissionDenied)
    assert error.metadata == {"model": "secret", "tenant": "acme"}
    assert isinstance(refused(lambda: classify(channel, "")), PermissionDenied)
    feedback = inference_pb2_grpc.InferenceStub(channel).RecordFeedback
    assert feedback(pb.RecordFeedbackRequest(request_id="r"), timeout=30) == pb.RecordFeedbackResponse()


def test_a_key_with_models_sends_rows_of_their_pipelines_only(world: World) -> None:
    stub = ingestion_pb2_grpc.IngestionStub(world.channel(ACME))

    def messages(pipeline: str) -> Iterator[ingestion_pb2.AppendRowsRequest]:
        yield ingestion_pb2.AppendRowsRequest(header=ingestion_pb2.BatchHeader(pipeline=pipeline))
        yield ingestion_pb2.AppendRowsRequest(rows=ingestion_pb2.RowChunk())

    assert stub.AppendRows(messages("mood"), timeout=30).received == 2
    assert isinstance(refused(lambda: stub.AppendRows(messages("secret"), timeout=30)), PermissionDenied)
    by_id = refused(lambda: stub.GetBatch(ingestion_pb2.GetBatchRequest(id="batch-1"), timeout=30))
    assert "names no model" in by_id.message, "a batch of any pipeline hides behind an id"


def test_a_priority_above_the_keys_is_refused(world: World) -> None:
    channel = world.channel(ACME)
    next(stream := generate(channel, priority=5))
    stream.cancel()
    error = refused(lambda: next(generate(channel, priority=6)))
    assert isinstance(error, PermissionDenied)
    assert error.metadata["field"] == "priority"


def test_requests_past_the_quota_are_told_when_to_come_back(world: World) -> None:
    before = REGISTRY.get_sample_value("flywheel_inference_rejected_total", {"reason": "quota"}) or 0.0
    channel = world.channel(SLOW)
    assert [classify(channel), classify(channel)] == ["slow", "slow"]
    error = refused(lambda: classify(channel))
    assert isinstance(error, ResourceExhausted)
    assert 2 < error.retry_seconds <= 20
    assert error.metadata == {"tenant": "slow", "quota": "requests_per_second"}
    assert classify(world.channel(REST)) == "rest", "the quota of one tenant is not another's"
    assert REGISTRY.get_sample_value("flywheel_inference_rejected_total", {"reason": "quota"}) == before + 1


def test_tokens_of_an_answer_count_against_the_next(world: World) -> None:
    channel = world.channel(SHORT)
    stream = generate(channel, tokens=100)
    next(stream)
    stream.cancel()
    error = refused(lambda: next(generate(channel)))
    assert isinstance(error, ResourceExhausted)
    assert 5 < error.retry_seconds <= 41
    assert error.metadata["quota"] == "tokens_per_minute"


def test_a_call_that_ends_however_it_ends_makes_room_for_the_next(world: World) -> None:
    channel = world.channel(LONE)
    stream = generate(channel)
    next(stream)
    assert isinstance(refused(lambda: classify(channel)), ResourceExhausted)
    stream.cancel()
    assert eventually(lambda: _tenant_or_none(channel)) == "lone"


def _tenant_or_none(channel: grpc.Channel) -> str | None:
    try:
        return classify(channel)
    except grpc.RpcError:
        return None


def test_keys_change_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(KEYS)
    world = serve(Security(api_keys_file=str(path)))
    channel = world.channel(ACME)
    assert classify(channel) == "acme"
    path.write_text("- {key: the-key-of-acme-0123, tenant: renamed}")
    assert eventually(lambda: classify(channel) == "renamed")
    path.write_text("[]")
    assert eventually(lambda: _tenant_or_none(channel) is None)


def test_health_and_reflection_are_open_under_tls_and_keys(serve: Serve, authority: Authority) -> None:
    pair = authority.sign("server")
    world = serve(Security(pair.certificate, pair.key, api_keys=KEYS))
    keyless = Security(authority=authority.path)
    channel = world.channel(keyless)
    assert is_serving(world.address, 5, keyless)
    assert set(ProtoReflectionDescriptorDatabase(channel).get_services()) == {
        "flywheel.inference.v1.Inference",
        "flywheel.inference.v1.Serving",
        "flywheel.ingestion.v1.Ingestion",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    assert isinstance(refused(lambda: classify(channel)), Unauthenticated)
    both = Security(authority=authority.path, api_key=ACME.api_key)
    assert classify(world.channel(both)) == "acme"


def test_an_unknown_method_is_unimplemented_whoever_asks(world: World) -> None:
    for security in (OPEN, ACME):
        call = world.channel(security).unary_unary("/flywheel.inference.v1.Inference/Guess", bytes, bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_refused_client_that_sends_no_request_keeps_no_thread(world: World) -> None:
    """gRPC waits for the request before it runs a unary method; a refusal must not."""
    stub = world.channel().stream_unary("/flywheel.inference.v1.Inference/Classify", bytes, bytes)
    told = threading.Event()

    def nothing() -> Iterator[bytes]:
        told.wait(10)
        yield from ()

    error = refused(lambda: stub(nothing(), timeout=30))
    told.set()
    assert isinstance(error, Unauthenticated)
