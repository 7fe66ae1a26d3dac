"""Jobs that begin with the champion's weights; what fits is tests/unit/finetuning/training/test_starting.py."""

from pathlib import Path

import pytest

from services.control.verifying import verify
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database
from shared.storage.repositories import models
from tests.integration.finetuning.support import World, pipeline_spec
from tests.support.tiny_models import tiny_encoder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", checkpoint_seconds=60, lease_seconds=30, grace_seconds=60)
    made.dataset()
    return made


def promote(world: World, version: int | None) -> None:
    with world.database.write() as session:
        models.move_alias(session, "mood", models.CHAMPION, version, "promotion", "a test", "")


def logged(world: World, job: str) -> list[str]:
    return [event["message"] for event in world.events(job, "log")]


def test_a_run_goes_on_from_the_champion_and_is_verified_from_it(world: World, base: Path) -> None:
    method = {"name": "lora", "batch_size": 8, "precision": "float32", "epochs": 1}
    first = world.job(base=str(base), start="champion", method=method)
    world.train(first)
    assert any("no champion yet" in line for line in logged(world, first)), world.runs(first)[0].error
    promote(world, 1)
    second = world.job(base=str(base), start="champion", method=method)
    promote(world, None)
    world.train(second)
    one, two = world.versions()
    assert (one.started_from, two.started_from) == (None, 1), "the champion of the moment when the job was created"
    assert one.adapter_digest != two.adapter_digest

    with world.database.write() as session:
        again = verify(session, "mood", 2, "", max_attempts=1).job.id
    world.train(again)
    assert world.get(again).outcome["verdict"] == "identical", world.get(again).reason


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"method": {"name": "adalora"}}, "start: what adalora leaves can't be trained on"),
        ({"method": {"name": "p_tuning"}}, "start: what p_tuning leaves can't be trained on"),
        ({"kind": "pretraining", "labels": None, "method": {}, "base": "new"}, "start: a model made from scratch"),
    ],
)
def test_a_start_that_could_not_work_is_refused_in_the_pipeline_file(spec: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pipeline_spec(**{"base": "nowhere", "start": "champion", **spec})  # type: ignore[arg-type]
    assert PipelineSpec.model_validate(pipeline_spec("nowhere")).start == "base"
