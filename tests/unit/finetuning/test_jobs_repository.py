"""Jobs as a repository, on SQLite and PostgreSQL alike."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from shared.contracts.codec import decode
from shared.errors import FailedPrecondition, IllegalTransition, InvalidArgument, NotFound
from shared.storage import leases
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories import jobs
from shared.storage.tables import DeadLetter, Job, OutboxMessage, Run


def create(database: Database, **given: Any) -> Job:
    values = {"pipeline": "mood", "dataset_version": 1, "spec": {}, "trigger": "manual", "max_attempts": 2}
    with database.write() as session:
        return jobs.create(session, **{**values, **given})


def take(database: Database, job_id: str, seconds: float = 60) -> Lease:
    """What a worker does first."""
    with database.write() as session:
        lease = leases.take(session, Job, job_id, "worker", seconds, ("queued",))
        assert lease is not None
        jobs.move(session, jobs.get(session, job_id, lock=True), "running")
        run = Run(id=new_id("run"), job=job_id, attempt=lease.attempt, fence=lease.fence, state="running")
        run.owner, run.started_at = "worker", clock(session)
        session.add(run)
        return lease


def let_lease_run_out(database: Database, job_id: str) -> None:
    with database.write() as session:
        jobs.get(session, job_id, lock=True).lease_expires_at = clock(session) - timedelta(seconds=1)


def reclaim(database: Database) -> list[str]:
    with database.write() as session:
        return jobs.reclaim_lost(session)


def want(database: Database, job_id: str, wanted: jobs.Wanted) -> Job:
    with database.write() as session:
        return jobs.want(session, job_id, wanted)


def load(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get(session, job_id)


def messages(database: Database) -> list[OutboxMessage]:
    with database.read() as session:
        return list(session.scalars(select(OutboxMessage).order_by(OutboxMessage.id)))


def run_states(database: Database, job_id: str) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Run.state).where(Run.job == job_id).order_by(Run.attempt)))


def test_a_new_job_is_queued_with_its_message_and_first_event(any_database: Database) -> None:
    job = create(any_database)
    assert load(any_database, job.id).state == "queued"
    (message,) = messages(any_database)
    assert message.queue == "finetuning.cpu"
    assert decode(message.task, message.payload).message.job == job.id  # type: ignore[attr-defined]
    with any_database.read() as session:
        (event,) = jobs.events_after(session, job.id, 0)
        assert (event.sequence, event.kind, event.detail["state"]) == (1, "state", "queued")
        assert jobs.events_after(session, job.id, 1) == []


def test_a_job_for_the_gpu_goes_to_the_queue_of_the_gpu(database: Database) -> None:
    create(database, device="gpu")
    assert [message.queue for message in messages(database)] == ["finetuning.gpu"]


def test_a_job_for_an_unknown_device_is_refused_and_nothing_is_left(database: Database) -> None:
    with pytest.raises(InvalidArgument):
        create(database, device="abacus")
    assert messages(database) == []
    with database.read() as session:
        assert session.scalars(select(Job)).all() == []


def test_the_same_key_gives_the_same_job_also_when_eight_ask_at_once(any_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create(any_database, idempotency_key="k").id, range(8)))
    assert len(set(made)) == 1
    assert len(messages(any_database)) == 1


def test_the_newest_active_job_of_a_pipeline_is_found(database: Database) -> None:
    first, other = create(database), create(database, pipeline="other")
    with database.read() as session:
        found = jobs.active(session, "mood")
        assert found is not None
        assert found.id == first.id
    want(database, first.id, "cancel")
    with database.read() as session:
        assert jobs.active(session, "mood") is None
        assert jobs.active(session, "other") is not None
    want(database, other.id, "pause")
    with database.read() as session:
        assert jobs.active(session, "other") is None


def test_an_illegal_move_raises_and_changes_nothing(database: Database) -> None:
    job = create(database)
    with database.write() as session, pytest.raises(IllegalTransition, match="queued"):
        jobs.move(session, jobs.get(session, job.id, lock=True), "succeeded")
    assert load(database, job.id).state == "queued"


def test_an_unknown_job_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="job-x"):
        want(database, "job-x", "cancel")


def test_a_queued_job_is_cancelled_at_once_and_no_worker_can_take_it(any_database: Database) -> None:
    job = create(any_database)
    assert want(any_database, job.id, "cancel").state == "cancelled"
    assert want(any_database, job.id, "cancel").state == "cancelled"
    with any_database.write() as session:
        assert leases.take(session, Job, job.id, "worker", 60, ("queued",)) is None
    with pytest.raises(FailedPrecondition, match="cancelled"):
        want(any_database, job.id, "pause")


def test_a_queued_job_is_paused_at_once_and_resumed_with_a_new_message(any_database: Database) -> None:
    job = create(any_database)
    assert want(any_database, job.id, "pause").state == "paused"
    assert want(any_database, job.id, "run").state == "queued"
    assert len(messages(any_database)) == 2


def test_a_running_job_is_left_to_its_supervisor(any_database: Database) -> None:
    job = create(any_database)
    take(any_database, job.id)
    assert want(any_database, job.id, "pause").state == "pausing"
    assert want(any_database, job.id, "cancel").state == "pausing"
    assert load(any_database, job.id).wanted == "cancel"
    with pytest.raises(FailedPrecondition, match="being cancelled"):
        want(any_database, job.id, "run")


def test_a_lease_that_ran_out_makes_the_run_lost_and_queues_the_job_again(any_database: Database) -> None:
    job = create(any_database)
    lease = take(any_database, job.id)
    assert reclaim(any_database) == []
    let_lease_run_out(any_database, job.id)
    assert reclaim(any_database) == [job.id]
    assert reclaim(any_database) == []
    assert load(any_database, job.id).state == "queued"
    assert run_states(any_database, job.id) == ["lost"]
    assert len(messages(any_database)) == 2
    with any_database.write() as session, pytest.raises(Exception, match="stale"):
        leases.guard(session, lease)
    assert take(any_database, job.id).fence == lease.fence + 1


def test_a_job_whose_attempts_are_used_up_fails_with_a_dead_letter(any_database: Database) -> None:
    job = create(any_database, max_attempts=2)
    for _ in range(2):
        take(any_database, job.id)
        let_lease_run_out(any_database, job.id)
        reclaim(any_database)
    assert load(any_database, job.id).state == "failed"
    assert run_states(any_database, job.id) == ["lost", "lost"]
    with any_database.read() as session:
        (letter,) = session.scalars(select(DeadLetter))
    assert letter.attempts == 2
    assert letter.detail["job"] == job.id
    assert decode(letter.task, letter.payload).message.job == job.id  # type: ignore[attr-defined]
    assert len(messages(any_database)) == 2


def test_a_drained_run_uses_up_no_attempt(any_database: Database) -> None:
    job = create(any_database, max_attempts=1)
    take(any_database, job.id)
    with any_database.write() as session:
        held = jobs.get(session, job.id, lock=True)
        (run,) = session.scalars(select(Run).where(Run.job == job.id))
        jobs.end_run(session, run, "drained")
        jobs.put_back(session, held, "its worker stopped", 0)
    assert load(any_database, job.id).state == "queued"


@pytest.mark.parametrize(("wanted", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_lost_job_goes_where_its_owner_wanted(any_database: Database, wanted: jobs.Wanted, state: str) -> None:
    job = create(any_database)
    take(any_database, job.id)
    want(any_database, job.id, wanted)
    let_lease_run_out(any_database, job.id)
    reclaim(any_database)
    assert load(any_database, job.id).state == state
    assert len(messages(any_database)) == 1


def test_events_of_two_writers_are_numbered_without_gaps(any_database: Database) -> None:
    job = create(any_database)
    gate = threading.Barrier(4)

    def write_ten(writer: int) -> None:
        gate.wait()
        for index in range(10):
            with any_database.write() as session:
                jobs.append_event(session, job.id, "log", {"writer": writer, "index": index})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_ten, range(4)))
    with any_database.read() as session:
        events = jobs.events_after(session, job.id, 0)
    assert [event.sequence for event in events] == list(range(1, 42))
