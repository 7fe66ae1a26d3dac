"""A version trained again from its lineage: identical bytes, or a clear word on what differs."""

from pathlib import Path
from typing import Any

import pytest

from services.control.verifying import verify
from shared.errors import FailedPrecondition, NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database
from shared.storage.repositories import jobs, models, pipelines, status
from shared.storage.tables import DatasetVersion, Job, ModelVersion
from tests.integration.finetuning.support import World, pipeline_spec, scripted
from tests.support.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", checkpoint_seconds=60, lease_seconds=30, grace_seconds=60)
    made.dataset()
    return made


def ask(world: World, version: int = 1, key: str = "") -> str:
    with world.database.write() as session:
        return verify(session, "mood", version, key, max_attempts=3).job.id


def alter(world: World, **columns: Any) -> None:
    """Changes the record of version 1."""
    with world.database.write() as session:
        row = session.get_one(ModelVersion, ("mood", 1))
        for name, value in columns.items():
            setattr(row, name, value)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_version_is_made_again_to_the_same_bytes(world: World, base: Path, method: str) -> None:
    keys = {"name": method, "batch_size": 4, "precision": "auto", "epochs": 1}
    job = world.job(base=str(base), method=keys, seed=5)
    world.train(job)
    (version,) = world.versions()
    assert version.conditions["threads"] == 1
    assert version.conditions["precision"] in ("float32", "bfloat16")
    assert version.conditions["libraries"]["torch"]

    world.limit(threads=2)
    again = ask(world)
    world.train(again)
    ended = world.get(again)
    digest = "adapter_digest" if method == "lora" else "weights_digest"
    wanted = getattr(version, digest)
    assert (ended.state, ended.reason) == ("succeeded", f"identical: {digest} {wanted}"), world.runs(again)[-1].error
    assert ended.outcome["verdict"] == "identical"
    assert ended.model_version is None
    assert len(world.versions()) == 1
    assert len(world.evaluations()) == 1, "only the version itself is judged"
    assert not (world.settings.home / "runs" / again).exists()


def test_an_altered_record_is_told_from_the_truth(world: World, base: Path) -> None:
    job = world.job(base=str(base), method={"name": "head", "epochs": 1})
    world.train(job)
    (version,) = world.versions()
    libraries = version.conditions["libraries"] | {"torch": "1.0"}
    conditions = version.conditions | {"libraries": libraries, "processor": "abacus"}
    alter(world, weights_digest="f" * 64, conditions=conditions)
    with world.database.write() as session:
        row = session.get_one(Job, job)
        row.spec = row.spec | {"seed": 99}
    again = ask(world)
    world.train(again)
    ended = world.get(again)
    assert ended.state == "succeeded"
    assert ended.reason.startswith(f"differs: weights_digest {'f' * 64}, retrained ")
    assert "torch was 1.0, here " in ended.reason
    assert "processor was abacus, here " in ended.reason
    assert ended.outcome["found"] not in ("f" * 64, version.weights_digest), "the seed was altered, too"


def test_a_verification_goes_through_attempts_and_cancel_like_any_job(world: World) -> None:
    made = world.job()
    world.run(made, scripted("finish"))
    again = ask(world)
    world.run(again, scripted("crash-once"))
    assert world.get(again).state == "queued"
    world.run(again, scripted("crash-once"))
    ended = world.get(again)
    assert (ended.state, ended.outcome["verdict"]) == ("succeeded", "identical")
    assert "were not recorded" in ended.reason, "the scripted process records no conditions"

    cancelled = ask(world)
    world.want(cancelled, "cancel")
    world.run(cancelled, scripted("finish"))
    assert world.get(cancelled).state == "cancelled"


def test_a_verification_stands_in_nobodys_way(world: World) -> None:
    with world.database.write() as session:
        pipelines.save(session, PipelineSpec.model_validate(pipeline_spec("nowhere")))
    world.run(world.job(), scripted("finish"))
    queued = ask(world, key="once")
    assert ask(world, key="once") == queued
    with world.database.read() as session:
        assert jobs.active(session, "mood") is None
        newest = status.newest_job(session, "mood")
        assert newest is not None
        assert newest.sort == "train"


def test_what_can_not_be_made_again_is_refused_with_its_reason(world: World) -> None:
    with pytest.raises(NotFound, match="has no version 1"):
        ask(world)
    with pytest.raises(NotFound, match="no champion"):
        ask(world, 0)
    made = world.job()
    world.run(made, scripted("finish"))
    alter(world, conditions={"device": "cuda"})
    with pytest.raises(FailedPrecondition, match="on a GPU"):
        ask(world)
    alter(world, conditions={})
    with world.database.write() as session:
        session.delete(session.get_one(DatasetVersion, ("mood", 1)))
    with pytest.raises(FailedPrecondition, match="its dataset version 1 is gone"):
        ask(world)
    with world.database.write() as session:
        session.delete(session.get_one(Job, made))
    with pytest.raises(FailedPrecondition, match=f"its job {made} is gone"):
        ask(world)
    with world.database.read() as session:
        assert models.newest_version(session, "mood") == 1


def test_a_dataset_or_base_that_is_gone_ends_the_verification_with_a_reason(world: World) -> None:
    world.run(world.job(), scripted("finish"))
    again = ask(world)
    world.artifacts.delete("datasets/mood/part-1.parquet")
    world.run(again, scripted("finish"))
    assert world.get(again).state == "failed"
    assert world.get(again).reason.startswith("BAD_DATA")
