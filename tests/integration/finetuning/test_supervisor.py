"""What the supervisor makes of a training process, on a scripted one: faults that a real one has only by accident."""

from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import select

from services.finetuning import attempts
from services.finetuning.workplace import Workplace
from shared.errors import LeaseLost
from shared.messaging import dead_letters
from shared.storage.artifacts import MANIFEST
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from shared.storage.tables import DeadLetter, OutboxMessage
from tests.integration.finetuning.support import Unsteady, World, scripted
from tests.support.wait import eventually

EVALUATE = "evaluation.evaluate_model_version"
RUN_JOB = "finetuning.run_job"
JOIN = 60


@pytest.fixture
def world(any_database: Database, tmp_path: Path) -> World:
    """A sealed dataset version, on SQLite and on PostgreSQL."""
    made = World.make(any_database, tmp_path / "home")
    made.dataset()
    return made


@pytest.fixture
def small(database: Database, tmp_path: Path) -> World:
    """The same on SQLite only, for what has nothing to do with the database."""
    made = World.make(database, tmp_path / "home")
    made.dataset()
    return made


def states(world: World, job: str) -> list[str]:
    return [event["state"] for event in world.events(job, "state")]


def outcome_count(outcome: str) -> float:
    return REGISTRY.get_sample_value("flywheel_training_attempts_total", {"outcome": outcome}) or 0.0


def test_a_finished_run_leaves_one_version_one_evaluation_and_no_work_folder(world: World) -> None:
    job = world.job()
    before = outcome_count("succeeded")
    world.run(job, scripted("finish"))
    held = world.get(job)
    assert (held.state, held.owner, held.lease_expires_at, held.model_version) == ("succeeded", None, None, 1)
    (run,) = world.runs(job)
    assert (run.state, run.step, run.total_steps, run.attempt) == ("succeeded", 3, 3, 1)
    assert run.first_step_at is not None
    (version,) = world.versions()
    assert (version.model, version.job, version.run, version.dataset_version) == ("mood", job, run.id, 1)
    assert (version.state, version.labels, version.metrics) == ("trained", ["bad", "good"], {"accuracy": 0.5})
    assert world.artifacts.exists(f"{version.weights_uri}/{MANIFEST}")
    assert [evaluation.version for evaluation in world.evaluations()] == [1]
    assert world.messages(EVALUATE) == 1
    assert states(world, job) == ["queued", "running", "succeeded"]
    assert not Workplace(world.settings.home, job).folder.exists()
    assert outcome_count("succeeded") == before + 1


def test_ten_deliveries_of_one_message_make_one_run(small: World) -> None:
    job = small.job()
    threads = [small.start(job, scripted("finish")) for _ in range(10)]
    for thread in threads:
        thread.join(JOIN)
    small.run(job, scripted("finish"))
    assert len(small.runs(job)) == 1
    assert len(small.versions()) == 1
    assert small.messages(EVALUATE) == 1


def test_a_message_for_an_unknown_job_is_nothing_to_do(small: World) -> None:
    small.run("job-nobody-made", scripted("finish"))
    assert small.versions() == []


def test_progress_reaches_the_run_the_events_and_prometheus(small: World) -> None:
    job = small.job()
    thread = small.start(job, scripted("slow"))
    eventually(lambda: len(small.events(job, "progress")) >= 2)
    assert REGISTRY.get_sample_value("flywheel_training_progress_ratio", {"pipeline": "mood"}) == pytest.approx(1 / 3)
    assert REGISTRY.get_sample_value("flywheel_training_eta_seconds", {"pipeline": "mood"}) == 1.0
    (run,) = small.runs(job)
    assert (run.step, run.loss, run.tokens_per_second, run.eta_seconds) == (1, 1.0, 9.0, 1.0)
    small.want(job, "cancel")
    thread.join(JOIN)
    assert REGISTRY.get_sample_value("flywheel_training_eta_seconds", {"pipeline": "mood"}) is None
    assert REGISTRY.get_sample_value("flywheel_training_loss", {"pipeline": "mood", "split": "train"}) == 1.0


def test_progress_is_written_about_once_a_second(small: World) -> None:
    job = small.job()
    thread = small.start(job, scripted("slow"))
    eventually(lambda: len(small.events(job, "progress")) >= 3)
    (run,) = small.runs(job)
    with small.database.read() as session:
        seconds = (clock(session) - run.started_at).total_seconds()
    assert len(small.events(job, "progress")) <= seconds + 1
    small.want(job, "cancel")
    thread.join(JOIN)


def test_a_cancelled_job_ends_soon_and_frees_the_disk(world: World) -> None:
    job = world.job()
    thread = world.start(job, scripted("deaf"))
    eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1)
    world.want(job, "cancel")
    eventually(lambda: world.get(job).state == "cancelled")
    thread.join(JOIN)
    assert [run.state for run in world.runs(job)] == ["cancelled"]
    assert not Workplace(world.settings.home, job).folder.exists()
    assert world.versions() == []


def test_a_paused_job_keeps_its_folder_and_goes_on_when_resumed(world: World) -> None:
    job = world.job(max_attempts=1)
    thread = world.start(job, scripted("drain-once"))
    eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1)
    world.want(job, "pause")
    eventually(lambda: world.get(job).state == "paused")
    thread.join(JOIN)
    world.run(job, scripted("finish"))
    assert world.get(job).state == "paused", "a stray message must not resume it"
    assert Workplace(world.settings.home, job).folder.exists()
    world.want(job, "run")
    world.run(job, scripted("drain-once"))
    assert states(world, job) == ["queued", "running", "pausing", "paused", "queued", "running", "succeeded"]
    assert [run.state for run in world.runs(job)] == ["drained", "succeeded"]


def test_a_draining_worker_puts_the_job_back_without_using_up_an_attempt(world: World) -> None:
    job = world.job(max_attempts=1)
    thread = world.start(job, scripted("drain"))
    eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1)
    world.draining.set()
    thread.join(JOIN)
    held = world.get(job)
    assert (held.state, held.owner, held.lease_expires_at) == ("queued", None, None)
    assert [run.state for run in world.runs(job)] == ["drained"]
    assert world.messages(RUN_JOB) == 2


def test_the_end_of_a_run_waits_for_the_database(small: World) -> None:
    job = small.job()
    real = small.database
    door = small.database = Unsteady(real)
    thread = small.start(job, scripted("drain"))
    eventually(lambda: small.runs(job) and small.runs(job)[0].step == 1)
    pid = int((Workplace(small.settings.home, job).folder / "lock").read_text())
    door.away = True
    small.draining.set()
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert thread.is_alive()
    door.away = False
    thread.join(JOIN)
    assert small.get(job).state == "queued"
    assert [run.state for run in small.runs(job)] == ["drained"]


def test_a_process_deaf_to_sigterm_is_killed_within_the_grace(small: World) -> None:
    small.limit(grace_seconds=1)
    job = small.job()
    thread = small.start(job, scripted("deaf"))
    eventually(lambda: small.runs(job) and small.runs(job)[0].step == 1)
    small.draining.set()
    thread.join(JOIN)
    assert not thread.is_alive()
    assert small.get(job).state == "queued"


def test_a_crash_is_tried_again_and_says_what_the_process_said_last(small: World) -> None:
    job = small.job()
    small.run(job, scripted("crash-once"))
    assert small.get(job).state == "queued"
    (run,) = small.runs(job)
    assert run.state == "failed"
    assert run.error == "CRASHED: the training process was ended with exit code 1: segmentation fault, says the library"
    small.run(job, scripted("crash-once"))
    assert small.get(job).state == "succeeded"
    assert len(small.versions()) == 1


def test_a_job_that_always_crashes_fails_with_a_dead_letter_after_its_attempts(world: World) -> None:
    job = world.job(max_attempts=2)
    for _ in range(4):
        world.run(job, scripted("crash"))
    held = world.get(job)
    assert held.state == "failed"
    assert "2 attempts failed" in held.reason
    assert "SIGKILL" in held.reason
    assert [run.state for run in world.runs(job)] == ["failed", "failed"]
    with world.database.read() as session:
        assert [letter.detail["job"] for letter in session.scalars(select(DeadLetter))] == [job]


def test_replaying_the_dead_letter_gives_a_failed_job_new_attempts(world: World) -> None:
    job = world.job(max_attempts=1)
    world.run(job, scripted("crash"))
    assert world.get(job).state == "failed"
    with world.database.write() as session:
        (letter,) = session.scalars(select(DeadLetter))
        dead_letters.replay(session, letter.id)
    world.run(job, scripted("finish"))
    assert world.get(job).state == "succeeded"


def test_bad_data_fails_the_job_at_once(small: World) -> None:
    job = small.job()
    small.run(job, scripted("fail-data"))
    held = small.get(job)
    assert (held.state, held.reason) == ("failed", "BAD_DATA: the train split is empty")
    assert len(small.runs(job)) == 1
    assert small.messages(RUN_JOB) == 1


def test_a_full_disk_is_tried_again_later(small: World) -> None:
    job = small.job()
    small.run(job, scripted("fail-disk"))
    assert small.get(job).state == "queued"
    with small.database.read() as session:
        newest = session.scalars(select(OutboxMessage).order_by(OutboxMessage.id.desc())).first()
    assert newest is not None
    assert (newest.due_at - newest.created_at).total_seconds() == pytest.approx(60)


def test_a_silent_process_is_killed_and_its_run_failed_as_hung(small: World) -> None:
    small.limit(stall_seconds=3)
    job = small.job()
    small.run(job, scripted("silent"))
    assert small.get(job).state == "queued"
    assert small.runs(job)[0].error.startswith("HUNG: ")


def test_an_altered_dataset_part_fails_the_job_before_any_training(small: World) -> None:
    job = small.job()
    small.artifacts.write_bytes("datasets/mood/part-1.parquet", b"not what was sealed")
    small.run(job, scripted("finish"))
    assert small.get(job).state == "failed"
    assert small.get(job).reason.startswith("BAD_DATA: ")


def test_a_job_whose_spec_no_longer_makes_sense_fails_and_names_the_field(small: World) -> None:
    job = small.job()
    with small.database.write() as session:
        row = jobs.get(session, job, lock=True)
        row.spec = {**row.spec, "kind": "telepathy"}
    small.run(job, scripted("finish"))
    assert small.get(job).reason.startswith("BAD_SPEC: the job's kind: ")


def test_a_worker_that_lost_its_lease_kills_its_process_and_writes_nothing(world: World) -> None:
    job = world.job()
    thread = world.start(job, scripted("slow"))
    eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1)
    with world.database.write() as session:
        held = jobs.get(session, job, lock=True)
        held.lease_expires_at = clock(session)
    eventually(lambda: world.reclaim() == [job])
    known = len(world.events(job, "progress"))
    thread.join(JOIN)
    assert not thread.is_alive()
    assert world.get(job).state == "queued"
    assert [run.state for run in world.runs(job)] == ["lost"]
    assert len(world.events(job, "progress")) == known
    world.run(job, scripted("finish"))
    assert world.get(job).state == "succeeded"


def test_a_stale_attempt_can_neither_succeed_nor_fail_nor_stop(world: World) -> None:
    job = world.job()
    stale = attempts.take(world.database, job, "first", 0.01, 3)
    assert stale is not None
    eventually(lambda: world.reclaim() == [job])
    fresh = attempts.take(world.database, job, "second", 60, 3)
    assert fresh is not None
    with pytest.raises(LeaseLost):
        attempts.fail(world.database, stale, "late", final=True)
    with pytest.raises(LeaseLost):
        attempts.stop(world.database, stale)
    assert world.get(job).state == "running"
    assert [run.state for run in world.runs(job)] == ["lost", "running"]
