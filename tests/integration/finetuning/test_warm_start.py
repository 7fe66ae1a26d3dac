"""Runs that begin with the champion's weights, and those that can't."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from services.control.verifying import verify
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database
from shared.storage.repositories import models
from tests.integration.finetuning.support import World, pipeline_spec
from tests.support.tiny_models import tiny_encoder

FROZEN = {"batch_size": 4, "precision": "float32", "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0}
"""So slow that what training began with is still there."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", checkpoint_seconds=60, lease_seconds=30, grace_seconds=60)
    made.dataset()
    return made


def promote(world: World, version: int) -> None:
    with world.database.write() as session:
        models.move_alias(session, "mood", models.CHAMPION, version, "promotion", "a test", "")


def logged(world: World, job: str) -> list[str]:
    return [event["message"] for event in world.events(job, "log")]


@pytest.mark.parametrize("method", ["full", "lora", "prompt_tuning"])
def test_a_run_goes_on_from_the_champion_and_is_verified_from_it(world: World, base: Path, method: str) -> None:
    learning = {"name": method, "batch_size": 4, "precision": "float32", "epochs": 2, "learning_rate": 1e-2}
    first = world.job(base=str(base), start="champion", method=learning)
    world.train(first)
    assert any("no champion yet" in line for line in logged(world, first)), world.runs(first)[0].error
    promote(world, 1)
    second = world.job(base=str(base), start="champion", seed=3, method={**FROZEN, "name": method})
    promote_later = world.job(base=str(base), method={**FROZEN, "name": method})
    world.train(second)
    world.train(promote_later)
    one, two, three = world.versions()
    assert (one.started_from, two.started_from, three.started_from) == (None, 1, None)
    digests = {row.adapter_digest or row.weights_digest for row in (one, two, three)}
    assert len(digests) == 3
    kept, fresh = distance(world, one.weights_uri, two.weights_uri), distance(world, one.weights_uri, three.weights_uri)
    assert kept < 1e-6 < 1e-3 < fresh, "what was learnt is where the second run began"

    promote(world, 3)
    with world.database.write() as session:
        again = verify(session, "mood", 2, "", max_attempts=1).job.id
    world.train(again)
    assert world.get(again).outcome["verdict"] == "identical", world.get(again).reason


def distance(world: World, one: str, other: str) -> float:
    """The greatest difference between two versions' weights."""
    folders = [world.artifacts.fetch_folder(uri) for uri in (one, other)]
    files = [load_file(next(folder.glob("*model.safetensors"))) for folder in folders]
    return max(float((files[0][name] - files[1][name]).abs().max()) for name in files[0])


def test_a_champion_that_does_not_fit_is_told_and_the_base_is_taken(world: World, base: Path) -> None:
    head = {"name": "head", "batch_size": 8, "epochs": 1, "precision": "float32"}
    world.train(world.job(base=str(base), method=head))
    promote(world, 1)
    lora = {"name": "lora", "batch_size": 8, "epochs": 1, "precision": "float32"}
    other = world.job(base=str(base), start="champion", method=lora)
    labels = world.job(base=str(base), start="champion", method=head, labels=["good", "bad"])
    for job, words in ((other, "was trained with head, not with lora"), (labels, "has other labels")):
        world.train(job)
        assert world.get(job).state == "succeeded", world.runs(job)[0].error
        assert any(words in line for line in logged(world, job))
    assert [version.started_from for version in world.versions()] == [None, None, None]
    promote(world, 2)
    wider = world.job(base=str(base), start="champion", method={**lora, "lora_rank": 4})
    world.train(wider)
    assert any("has another adapter" in line for line in logged(world, wider))
    assert world.versions()[-1].started_from is None


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
