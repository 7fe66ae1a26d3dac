"""What clients, engines and databases do wrong; the others notice nothing and nothing leaks."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text

from services.inference.kinds.generation import Generator
from services.inference.models.lineage import Key
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from tests.integration.inference.platform import Platform, text_of
from tests.support.soak import cancel_storm
from tests.support.wait import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LONG = pb.Stopping(max_tokens=480, ignore_eos=True)
SHORT = pb.Stopping(max_tokens=8, ignore_eos=True)
READER = """
import sys
import grpc
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import InferenceStub
stub = InferenceStub(grpc.insecure_channel(sys.argv[1]))
stopping = pb.Stopping(max_tokens=480, ignore_eos=True)
streams = [
    stub.Generate(pb.GenerateRequest(model=common_pb2.ModelRef(name="helper"), text="a", stopping=stopping))
    for _ in range(3)
]
for stream in streams:
    next(stream)
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def helper(platform: Platform) -> Platform:
    """A chat model with two versions; the first is champion."""
    platform.declare("helper", "chat")
    for seed in (1, 2):
        platform.add_version("helper", "chat", seed)
    platform.point("helper", 1)
    platform.start()
    eventually(lambda: platform.holds("helper", 1))
    return platform


def is_idle(platform: Platform) -> bool:
    """No request runs, waits, holds memory of the cache or a version."""
    load = platform.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=30)
    held = sum(one.in_flight for one in platform.deployments().values())
    return (load.running, load.waiting, load.waiting_tokens, held) == (0, 0, 0, 0) and load.cache_used_ratio == 0


def answers(platform: Platform) -> bool:
    *_, last = platform.generate(stopping=SHORT)
    return bool(last.finished.usage.completion_tokens == 8)


def health(platform: Platform, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(platform.channel)
    status: int = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30).status
    return status


def test_five_hundred_cancelled_streams_leave_nothing_behind(helper: Platform) -> None:
    cancel_storm(helper.inference, 50)
    eventually(lambda: is_idle(helper))
    threads = threading.active_count()
    cancel_storm(helper.inference, 500)
    eventually(lambda: is_idle(helper))
    assert threading.active_count() <= threads + 8  # the pool of gRPC may still grow to what comes at once
    assert answers(helper)


def test_a_client_that_never_reads_stops_nobody(helper: Platform) -> None:
    silent: list[Any] = [helper.generate(stopping=LONG) for _ in range(4)]
    eventually(lambda: not is_idle(helper))
    alone = text_of(list(helper.generate(stopping=SHORT)))
    assert alone
    for stream in silent:
        stream.cancel()
    eventually(lambda: is_idle(helper))


def test_a_client_that_is_killed_frees_what_it_held(helper: Platform) -> None:
    assert helper.application is not None
    command = [sys.executable, "-c", READER, helper.application.address]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "reading\n"
        client.kill()
    eventually(lambda: is_idle(helper))
    assert answers(helper)


def test_an_engine_that_dies_is_told_restarted_and_nobody_waits_for_ever(
    helper: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert helper.application is not None
    [(_, served)] = helper.application._registry.served()
    assert isinstance(served, Generator)
    engine: Any = served._engine

    def die() -> bool:
        monkeypatch.undo()
        raise SystemExit("a broken step")

    running: Any = helper.generate(stopping=LONG)
    next(running)
    seen: list[int] = []
    name = "flywheel.inference.v1.Inference/helper"
    watch: Any = health_pb2_grpc.HealthStub(helper.channel).Watch(
        health_pb2.HealthCheckRequest(service=name), timeout=20
    )
    assert next(watch).status == SERVING
    monkeypatch.setattr(engine, "_step", die)
    with pytest.raises(grpc.RpcError) as failed:
        list(running)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    seen += [next(watch).status, next(watch).status]
    watch.cancel()
    assert seen == [NOT_SERVING, SERVING]
    assert answers(helper)
    assert is_idle(helper)


def test_the_server_is_not_serving_while_no_champion_can_answer(helper: Platform) -> None:
    assert helper.application is not None
    registry = helper.application._registry
    assert health(helper, "") == SERVING
    registry._deployments[Key("helper", 1)].healthy = False
    registry._tell(registry._deployments[Key("helper", 1)])
    assert health(helper, "") == NOT_SERVING
    eventually(lambda: health(helper, "") == SERVING)  # the next look finds the engine alive


def test_a_drained_server_stays_not_serving_whatever_happens_to_its_models(helper: Platform) -> None:
    helper.serving.Drain(serving_pb2.DrainRequest(), timeout=30)
    helper.point("helper", 2)
    eventually(lambda: helper.holds("helper", 2))
    for name in ("", "flywheel.inference.v1.Inference", "flywheel.inference.v1.Inference/helper"):
        assert health(helper, name) == NOT_SERVING


def test_the_first_champion_is_known_as_soon_as_it_is_there(platform: Platform) -> None:
    platform.declare("helper", "chat")
    platform.add_version("helper", "chat", 1)
    platform.start()
    eventually(lambda: _refusal(platform) is grpc.StatusCode.FAILED_PRECONDITION)  # it has looked at the database
    platform.point("helper", 1)
    assert _refusal(platform) in (None, grpc.StatusCode.UNAVAILABLE)
    eventually(lambda: _refusal(platform) is None)


def test_answers_go_on_while_the_database_is_away(helper: Platform) -> None:
    away = ("aliases", "answers", "deployments", "model_versions")
    for table in away:
        _execute(helper, f"ALTER TABLE {table} RENAME TO away_{table}")
    events = list(helper.generate(stopping=SHORT))
    lineage = events[0].accepted.lineage
    assert (lineage.version, events[-1].finished.usage.completion_tokens) == (1, 8)
    assert [answers(helper) for _ in range(5)] == [True] * 5
    for table in away:
        _execute(helper, f"ALTER TABLE away_{table} RENAME TO {table}")
    request = pb.ExplainResponseRequest(request_id=events[0].accepted.request_id)
    assert helper.inference.ExplainResponse(request, timeout=30).lineage == lineage
    helper.point("helper", 2)
    eventually(lambda: helper.holds("helper", 2))


def _execute(platform: Platform, statement: str) -> None:
    with platform.database.engine.begin() as connection:
        connection.execute(text(statement))


def _refusal(platform: Platform) -> grpc.StatusCode | None:
    try:
        list(platform.generate(stopping=SHORT))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return None
