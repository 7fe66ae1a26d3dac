"""Searches from the first trial to the version: choices, pruning, a coordinator that is killed, what is refused."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from services.control import searches
from services.control.leadership import Leadership
from services.control.searching import Searcher
from services.control.trials import SearchView, view
from services.control.verifying import verify
from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database
from shared.storage.repositories import jobs, pipelines
from shared.storage.tables import DatasetVersion, Job, TriggerDecision
from tests.integration.finetuning.support import World, pipeline_spec, scripted
from tests.support.tiny_models import tiny_encoder
from tests.support.wait import eventually

SPACE = {"method.learning_rate": "log:1e-5..1e-2", "method.epochs": "1..4"}
COORDINATOR = Path(__file__).with_name("coordinator.py")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path, base: Path) -> World:
    """A declared pipeline with rows to train on and to compare on."""
    made = World.make(database, tmp_path / "home", checkpoint_seconds=60, lease_seconds=30, grace_seconds=60)
    made.dataset()
    with database.write() as session:
        pipelines.save(session, PipelineSpec.model_validate(pipeline_spec(str(base))))
        row = session.get_one(DatasetVersion, ("mood", 1))
        row.train, row.validation = 20, 4
    return made


def begin(world: World, **plan: Any) -> str:
    wanted = {"space": SPACE, **plan}
    with world.database.write() as session:
        return searches.create(session, "mood", wanted, 0, "", device="cpu", max_attempts=1).search.id


def look(world: World, search: str) -> SearchView:
    with world.database.read() as session:
        return view(session, searches.get(session, search))


def queued(world: World) -> list[str]:
    with world.database.read() as session:
        return list(session.scalars(select(Job.id).where(Job.state == "queued").order_by(Job.created_at, Job.id)))


@pytest.fixture
def step(database: Database) -> Callable[[], None]:
    """One look of the leader."""
    leadership = Leadership(database, "leader")

    def once() -> None:
        leadership.step()
        term = leadership.term
        assert term is not None
        Searcher(database, leadership).step(term)

    return once


def play(world: World, search: str, step: Callable[[], None], behaviour: str = "measure") -> SearchView:
    """Leader and worker in turns until the search is over."""
    for _ in range(100):
        step()
        for job in queued(world):
            world.run(job, scripted(behaviour))
        if look(world, search).search.state != "running":
            return look(world, search)
    raise AssertionError(look(world, search).search.reason)


def settings(found: SearchView) -> list[dict[str, Any]]:
    return [trial.params for trial in found.trials]


def test_the_best_trial_becomes_a_version_that_is_judged(world: World, step: Callable[[], None]) -> None:
    search = begin(world, trials=6, seed=3)
    found = play(world, search, step)
    assert found.search.state == "succeeded", found.search.reason
    assert len(found.trials) == 6
    assert "pruned" in {trial.state for trial in found.trials}
    complete = [trial for trial in found.trials if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.value or 0)
    assert found.best == best
    assert f"trial {best.number} of {search} was best: loss" in found.search.reason

    (version,) = world.versions()
    assert found.job is not None
    assert (version.job, found.job.sort, found.job.clone_of) == (found.job.id, "train", best.job.id)
    assert version.run == best.job.outcome["run"], "the trial's model itself, not another run's"
    assert version.metrics["loss"] == best.value
    assert found.job.spec["method"]["learning_rate"] == best.params["method.learning_rate"]
    assert [row.version for row in world.evaluations()] == [1]
    assert world.artifacts.exists(f"{version.weights_uri}/model.safetensors")
    stored = {uri for trial in found.trials if (uri := trial.job.outcome.get("uri"))}
    assert stored == {version.weights_uri}, "of all trials only the best one's model is kept"
    others = [trial.job.id for trial in found.trials if trial != best]
    assert all(world.artifacts.list(f"models/mood/{job}") == [] for job in others)
    with world.database.read() as session:
        (decision,) = session.scalars(select(TriggerDecision))
        assert (decision.trigger, decision.job) == ("search", found.job.id)


def test_the_same_seed_makes_the_same_search_in_any_order_of_a_round(world: World, step: Callable[[], None]) -> None:
    plan = {"trials": 4, "parallel": 2, "seed": 5}
    first = play(world, begin(world, **plan), step)
    search = begin(world, **plan)
    for _ in range(3):
        step()
        for job in reversed(queued(world)):
            world.run(job, scripted("measure"))
    second = look(world, search)
    assert settings(first) == settings(second)
    assert [trial.state for trial in first.trials] == [trial.state for trial in second.trials]


def test_a_killed_coordinator_is_followed_by_one_that_decides_the_same(world: World, step: Callable[[], None]) -> None:
    undisturbed = play(world, begin(world, trials=2, seed=9), step)
    search = begin(world, trials=2, seed=9)
    lives = 0
    while look(world, search).search.state == "running" and lives < 10:
        lives += 1
        with coordinator(world) as process:
            eventually(lambda: queued(world) or look(world, search).search.state != "running", timeout=60)
            process.kill()
        for job in queued(world):
            world.run(job, scripted("measure"))
    found = look(world, search)
    assert (found.search.state, lives) == ("succeeded", 4), found.search.reason
    assert settings(found) == settings(undisturbed)
    assert len(found.trials) == 2, "none twice"
    assert found.best is not None
    assert undisturbed.best is not None
    assert found.best.number == undisturbed.best.number


@contextmanager
def coordinator(world: World) -> Iterator[subprocess.Popen[bytes]]:
    url = world.database.engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen([sys.executable, str(COORDINATOR), url])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_lost_model_is_trained_again_and_the_version_is_verified(world: World, step: Callable[[], None]) -> None:
    """With the real training process, whose runs can be repeated."""
    search = begin(world, trials=1, space={"method.learning_rate": "log:1e-4..1e-2"})
    step()
    (trial,) = queued(world)
    world.train(trial)
    measured = world.get(trial)
    assert measured.state == "succeeded", world.runs(trial)[-1].error
    world.artifacts.delete(measured.outcome["uri"])
    step()
    (job,) = queued(world)
    world.train(job)
    step()
    assert look(world, search).search.state == "succeeded"
    (version,) = world.versions()
    assert version.run != measured.outcome["run"]
    assert version.metrics == measured.outcome["metrics"], "the same spec, the same weights"
    with world.database.write() as session:
        again = verify(session, "mood", 1, "", max_attempts=1).job.id
    world.train(again)
    assert world.get(again).outcome["verdict"] == "identical"


def test_a_search_without_a_complete_trial_fails_with_its_reason(
    world: World, step: Callable[[], None], base: Path
) -> None:
    failed = play(world, begin(world, trials=2), step, "fail-data")
    assert (failed.search.state, failed.search.reason) == ("failed", "none of 2 trials was completed")
    unmeasured = play(world, begin(world, trials=3, metric="macro_f1"), step)
    assert unmeasured.search.state == "failed"
    assert unmeasured.search.reason == "validation does not measure 'macro_f1'; it measured loss, accuracy"
    assert len(unmeasured.trials) == 1
    impossible = begin(world, space={"base": [str(base), "/nowhere"]}, trials=9)
    assert "can't be: base: " in play(world, impossible, step).search.reason


def test_cancelling_a_search_ends_its_trials_and_deleting_its_pipeline_does_so_too(
    world: World, step: Callable[[], None]
) -> None:
    search, other = begin(world, parallel=2), begin(world)
    step()
    assert len(queued(world)) == 3
    with world.database.write() as session:
        assert searches.cancel(session, search).search.state == "cancelled"
        assert searches.cancel(session, search).search.reason == "cancelled on request"
        pipelines.get(session, "mood").deleted_at = session.get_one(DatasetVersion, ("mood", 1)).created_at
    assert len(queued(world)) == 1
    step()
    assert look(world, other).search.reason == "the pipeline was deleted"
    assert queued(world) == []
    step()
    with world.database.write() as session, pytest.raises(NotFound, match="no search"):
        searches.cancel(session, "search-x")


def test_trials_stand_in_nobodys_way(world: World, step: Callable[[], None]) -> None:
    begin(world)
    step()
    with world.database.read() as session:
        assert jobs.active(session, "mood") is None


def test_a_search_that_could_not_work_is_refused_at_once(world: World) -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'learning_rate'"):
        begin(world, space={"method.lerning_rate": "1..2"})
    with pytest.raises(InvalidArgument, match="says nothing to search"):
        begin(world, space={})
    with world.database.write() as session:
        session.get_one(DatasetVersion, ("mood", 1)).validation = 0
    with pytest.raises(FailedPrecondition, match="no validation rows"):
        begin(world)
