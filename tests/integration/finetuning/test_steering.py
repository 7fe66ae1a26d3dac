"""Cancel and pause at every moment of a run, and what a budget or a hang makes of it; driven by what happens, not by time."""

from itertools import pairwise
from pathlib import Path

import pytest

from services.finetuning.workplace import Workplace
from shared.config import load_settings
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.states import JOB_STATES
from tests.integration.finetuning.support import World, scripted
from tests.support.wait import eventually

JOIN = 60
MOMENTS = ("starting", "training", "checkpoint", "validation", "saving")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home")
    made.dataset()
    return made


def history(world: World, job: str) -> list[str]:
    """The states of a job; every step of it is legal, and no event is missing."""
    with world.database.read() as session:
        events = jobs.events_after(session, job, 0)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.detail["state"] for event in events if event.kind == "state"]
    assert all(after in JOB_STATES[before] for before, after in pairwise(states))
    return states


def steered(world: World, moment: str, wanted: jobs.Wanted) -> str:
    """A job that was steered when its run was at a moment, after its worker is done with it."""
    job = world.job(max_attempts=1)
    thread = world.start(job, scripted(f"hold-at-{moment}"))
    eventually((Workplace(world.settings.home, job).folder / "held").exists)
    world.want(job, wanted)
    thread.join(JOIN)
    assert not thread.is_alive()
    return job


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_can_be_cancelled_at_any_moment(world: World, moment: str) -> None:
    job = steered(world, moment, "cancel")
    held = world.get(job)
    assert (held.state, held.reason, held.owner) == ("cancelled", "cancelled on request", None)
    assert history(world, job) == ["queued", "running", "cancelled"]
    assert [run.state for run in world.runs(job)] == ["cancelled"]
    assert [*world.versions(), *world.evaluations()] == []
    assert not Workplace(world.settings.home, job).folder.exists()


@pytest.mark.parametrize("moment", [moment for moment in MOMENTS if moment != "saving"])
def test_a_job_can_be_paused_at_any_moment_and_ends_as_if_it_had_not_been(world: World, moment: str) -> None:
    job = steered(world, moment, "pause")
    held = world.get(job)
    assert (held.state, held.reason, held.owner) == ("paused", "paused on request", None)
    assert [run.state for run in world.runs(job)] == ["drained"], "no attempt is used up"
    world.want(job, "run")
    world.run(job, scripted(f"hold-at-{moment}"))
    assert history(world, job) == ["queued", "running", "pausing", "paused", "queued", "running", "succeeded"]
    assert len(world.versions()) == len(world.evaluations()) == 1


def test_a_pause_that_comes_while_the_model_is_saved_comes_too_late(world: World) -> None:
    job = steered(world, "saving", "pause")
    assert history(world, job) == ["queued", "running", "pausing", "succeeded"]
    assert world.get(job).reason == "model version 1"
    assert len(world.versions()) == len(world.evaluations()) == 1


@pytest.mark.parametrize(("wanted", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_queued_job_obeys_at_once_and_its_message_does_nothing(world: World, wanted: jobs.Wanted, state: str) -> None:
    job = world.job()
    world.want(job, wanted)
    world.run(job, scripted("finish"))
    assert history(world, job) == ["queued", state]
    assert world.runs(job) == []


def test_an_owner_who_changes_his_mind_while_a_job_pauses_gets_what_he_wanted_last(world: World) -> None:
    job = world.job()
    thread = world.start(job, scripted("deaf"))
    eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1)
    world.want(job, "pause")
    world.want(job, "cancel")
    thread.join(JOIN)
    assert history(world, job) == ["queued", "running", "pausing", "cancelled"]


def test_a_used_up_budget_ends_the_job_keeps_its_folder_and_a_larger_one_continues(world: World) -> None:
    world.settings = load_settings(**{**world.settings.model_dump(exclude_unset=True), "cpu_cost": 2.0})
    job = world.job(budget={"steps": 1, "cost": 30})
    world.run(job, scripted("frugal"))
    held = world.get(job)
    assert (held.state, held.code) == ("failed", "BUDGET")
    assert held.reason == "BUDGET: budget used up at step 1 of 3 (30 cost units at 2 a second)"
    assert Workplace(world.settings.home, job).folder.exists()
    with world.database.write() as session:
        again = jobs.get(session, job, lock=True)
        again.budget = {"steps": 3, "cost": 5000}
        jobs.queue_again(session, again, "resumed on request")
    world.run(job, scripted("frugal"))
    assert world.get(job).state == "succeeded"


def test_a_checkpoint_of_another_revision_ends_the_job_until_the_worker_may_go_on(world: World) -> None:
    job = world.job()
    world.run(job, scripted("other-revision"))
    assert (world.get(job).state, world.get(job).code) == ("failed", "REVISION")
    with world.database.write() as session:
        jobs.queue_again(session, jobs.get(session, job, lock=True), "resumed on request")
    world.limit(allow_revisions=True)
    world.run(job, scripted("other-revision"))
    assert world.get(job).state == "succeeded"


def test_a_process_that_hangs_again_and_again_uses_up_its_attempts(world: World) -> None:
    world.limit(stall_seconds=1)
    job = world.job(max_attempts=2)
    for _ in range(3):
        world.run(job, scripted("silent"))
    held = world.get(job)
    assert (held.state, held.code) == ("failed", "HUNG")
    assert held.reason.startswith("2 attempts failed; the last: HUNG: the training process said nothing for 1 s")
    assert [run.state for run in world.runs(job)] == ["failed", "failed"]


def test_a_message_makes_its_worker_run_the_best_job_and_every_job_is_run_once(world: World) -> None:
    plain = world.job()
    urgent = world.job(trigger={"priority": 7})
    world.run(plain, scripted("finish"))
    assert (world.get(plain).state, world.get(urgent).state) == ("queued", "succeeded")
    world.run(urgent, scripted("finish"))
    world.run(urgent, scripted("finish"))
    assert [version.job for version in world.versions()] == [urgent, plain]
