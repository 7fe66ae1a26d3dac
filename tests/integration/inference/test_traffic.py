"""Requests shared between versions and copied to shadows, through the door."""

import grpc
import pytest
from prometheus_client import REGISTRY

from services.inference.models.traffic import Share, Traffic
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

IDS = [f"request-{number}" for number in range(60)]


@pytest.fixture
def mood(platform: Platform) -> Platform:
    """Three versions of a classifier; the first is champion."""
    platform.declare("mood", "classification")
    for seed in (1, 2, 3):
        platform.add_version("mood", "classification", seed)
    platform.point("mood", 1)
    platform.start()
    eventually(lambda: platform.holds("mood", 1))
    return platform


def set_traffic(
    platform: Platform, shares: dict[int, float], shadows: dict[int, float] | None = None, model: str = "mood"
) -> serving_pb2.Traffic:
    request = serving_pb2.SetTrafficRequest(
        model=model,
        shares=[serving_pb2.TrafficShare(version=one, share=share) for one, share in shares.items()],
        shadows=[serving_pb2.TrafficShare(version=one, share=share) for one, share in (shadows or {}).items()],
    )
    seen: serving_pb2.Traffic = platform.serving.SetTraffic(request, timeout=30)
    return seen


def get_traffic(platform: Platform, model: str = "mood") -> serving_pb2.Traffic:
    seen: serving_pb2.Traffic = platform.serving.GetTraffic(serving_pb2.GetTrafficRequest(model=model), timeout=30)
    return seen


def ask(platform: Platform, request_id: str) -> int:
    request = pb.ClassifyRequest(model=common_pb2.ModelRef(name="mood"), texts=["good film"], request_id=request_id)
    answered: int = platform.inference.Classify(request, timeout=20).lineage.version
    return answered


def shadowed(version: int, *outcomes: str) -> float:
    found = (
        REGISTRY.get_sample_value(
            "flywheel_inference_shadows_total", {"model": "mood", "version": str(version), "outcome": outcome}
        )
        for outcome in outcomes
    )
    return sum(value or 0.0 for value in found)


def test_each_request_goes_to_the_version_that_its_id_says(mood: Platform) -> None:
    set_traffic(mood, {2: 0.3, 3: 0.2})
    eventually(lambda: {2, 3} <= {key[1] for key, one in mood.deployments().items() if one.share})
    said = Traffic("mood", (Share(2, 0.3), Share(3, 0.2)))
    assert [ask(mood, one) for one in IDS] == [said.chosen(one) or 1 for one in IDS]
    shown = {version: round(one.share, 3) for (_, version), one in mood.deployments().items()}
    assert shown == {1: 0.0, 2: 0.3, 3: 0.2}


def test_traffic_is_kept_and_followed_by_a_server_that_starts_later(mood: Platform) -> None:
    set_traffic(mood, {2: 1.0}, {3: 0.5})
    mood.stop()
    mood.start()
    eventually(lambda: mood.deployment("mood", 2).share == 1.0)
    assert ask(mood, "a") == 2
    seen = get_traffic(mood)
    assert [(one.version, one.share) for one in (*seen.shares, *seen.shadows)] == [(2, 1.0), (3, 0.5)]
    assert seen.set_at.seconds > 0


def test_a_share_of_a_version_that_can_not_be_loaded_falls_to_the_champion(mood: Platform) -> None:
    folder = sorted((mood.folder / "artifacts" / "models" / "mood").iterdir())[1]
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"flipped!")
    set_traffic(mood, {2: 1.0})
    eventually(lambda: mood.deployment("mood", 2).state == serving_pb2.DEPLOYMENT_STATE_FAILED)
    assert {ask(mood, one) for one in IDS[:10]} == {1}
    assert list(get_traffic(mood).absent) == [2]
    assert mood.deployment("mood", 2).share == 0


def test_a_version_that_is_promoted_loses_its_share_and_a_rollback_does_not_give_it_back(mood: Platform) -> None:
    set_traffic(mood, {2: 0.5, 3: 0.25})
    mood.point("mood", 2)
    eventually(lambda: [one.version for one in get_traffic(mood).shares] == [3])
    eventually(lambda: mood.holds("mood", 2))
    mood.point("mood", 1, kind="rollback")
    eventually(lambda: mood.holds("mood", 1))
    assert 2 not in {ask(mood, one) for one in IDS}


def test_versions_leave_when_their_traffic_is_cleared(mood: Platform) -> None:
    set_traffic(mood, {2: 0.5}, {3: 0.5})
    eventually(lambda: len(mood.deployments()) == 3)
    set_traffic(mood, {})
    eventually(lambda: sorted(mood.deployments()) == [("mood", 1)])


def test_a_shadow_answers_copies_that_nobody_gets(mood: Platform) -> None:
    before = shadowed(2, "agreed", "differed")
    set_traffic(mood, {}, {2: 1.0})
    eventually(lambda: mood.deployment("mood", 2).shadow_share == 1.0)
    assert {ask(mood, one) for one in IDS[:20]} == {1}
    eventually(lambda: shadowed(2, "agreed", "differed") == before + 20)


@pytest.mark.parametrize(
    ("shares", "shadows", "words"),
    [
        ({9: 0.5}, {}, "shares[0].version is 9; the model has no such version, the newest is 3"),
        ({2: 1.5}, {}, "shares[0].share is 1.5"),
        ({2: -0.5}, {}, "shares[0].share is -0.5"),
        ({}, {2: 0.0}, "shadows[0].share is 0"),
        ({2: 0.7, 3: 0.7}, {}, "shares sum to 1.4"),
    ],
)
def test_traffic_that_can_not_be_is_refused_and_the_old_one_stays(
    mood: Platform, shares: dict[int, float], shadows: dict[int, float], words: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        set_traffic(mood, shares, shadows)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(refused.value.details())
    assert not get_traffic(mood).HasField("set_at")


@pytest.mark.parametrize(
    ("model", "code"), [("", grpc.StatusCode.INVALID_ARGUMENT), ("nobody", grpc.StatusCode.NOT_FOUND)]
)
def test_traffic_of_no_model_is_refused(mood: Platform, model: str, code: grpc.StatusCode) -> None:
    for call in (lambda: set_traffic(mood, {}, model=model), lambda: get_traffic(mood, model)):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is code
