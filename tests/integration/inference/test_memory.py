"""Several versions share a budget of memory; what is needed least gives way."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from tests.integration.inference.platform import Platform
from tests.support.wait import eventually

ROOM = 3.5
"""For three versions, and not for four."""


@pytest.fixture
def cramped(tmp_path: Path, database: Database) -> Iterator[Platform]:
    quiet_libraries()
    made = Platform(tmp_path, database)
    made.declare("mood", "classification")
    for seed in range(1, 6):
        made.add_version("mood", "classification", seed)
    made.point("mood", 1)
    made.start()
    eventually(lambda: made.holds("mood", 1))
    each = made.deployment("mood", 1).memory_bytes
    made.close()
    made.settings = made.settings.model_copy(update={"memory_bytes": int(ROOM * each)})
    made.start()
    eventually(lambda: made.holds("mood", 1))
    yield made
    made.close()


def reference(version: int) -> common_pb2.ModelRef:
    return common_pb2.ModelRef(name="mood", version=version)


def ask(platform: Platform, version: int) -> int:
    request = pb.ClassifyRequest(model=reference(version), texts=["a"])
    answered: int = platform.inference.Classify(request, timeout=20).lineage.version
    return answered


def load(platform: Platform, version: int, pinned: bool = False) -> serving_pb2.Deployment:
    request = serving_pb2.LoadModelRequest(model=reference(version), pinned=pinned)
    loaded: serving_pb2.Deployment = platform.serving.LoadModel(request, timeout=20)
    return loaded


def test_of_the_versions_asked_for_the_least_used_give_way(cramped: Platform) -> None:
    for version in (2, 3, 2, 4):
        assert ask(cramped, version) == version
    assert sorted(cramped.deployments()) == [("mood", 1), ("mood", 2), ("mood", 4)]


def test_a_load_that_can_not_fit_is_refused_and_the_rest_goes_on(cramped: Platform) -> None:
    assert [load(cramped, version, pinned=True).pinned for version in (2, 3)] == [True, True]
    with pytest.raises(grpc.RpcError) as refused:
        load(cramped, 4)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    message = str(refused.value.details())
    assert "mood version 4 needs" in message
    assert "FLYWHEEL_MEMORY_BYTES" in message
    for version in (1, 2, 3):
        assert ask(cramped, version) == version


def test_a_champion_that_does_not_fit_leaves_the_old_one_serving_until_there_is_room(cramped: Platform) -> None:
    for version in (2, 3):
        load(cramped, version, pinned=True)
    cramped.point("mood", 4)
    eventually(lambda: cramped.deployment("mood", 4).state == serving_pb2.DEPLOYMENT_STATE_FAILED)
    assert cramped.classify().lineage.version == 1
    load(cramped, 3, pinned=False)
    eventually(lambda: cramped.classify().lineage.version == 4)
    assert ("mood", 3) not in cramped.deployments()


def test_the_load_report_tells_each_version_and_the_budget(cramped: Platform) -> None:
    load(cramped, 2)
    report = cramped.serving.GetLoad(serving_pb2.GetLoadRequest(), timeout=30)
    assert sorted((one.model, one.version) for one in report.versions) == [("mood", 1), ("mood", 2)]
    assert report.memory_limit_bytes == cramped.settings.memory_bytes
    first, second = (one.memory_bytes for one in cramped.deployments().values())
    assert report.memory_bytes == first + second
    assert first == second > 80_000  # 20k parameters
