"""The watch and the record while the database is away, and when the job is another worker's."""

import pytest

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from services.finetuning.records import RunRecord
from services.finetuning.watch import JobWatch
from shared.errors import LeaseLost
from shared.storage.database import clock
from shared.storage.repositories import jobs
from shared.storage.tables import Job
from tests.integration.finetuning.support import Unsteady, World
from tests.support.wait import eventually


def lease_left(world: World, attempt: Attempt) -> float:
    with world.database.read() as session:
        expires = session.get_one(Job, attempt.job.id).lease_expires_at
        assert expires is not None
        return (expires - clock(session)).total_seconds()


def lose(world: World, attempt: Attempt) -> None:
    with world.database.write() as session:
        jobs.get(session, attempt.job.id, lock=True).lease_expires_at = clock(session)
    eventually(world.reclaim)


def test_the_lease_is_renewed_while_the_watch_is_open(world: World) -> None:
    attempt = attempts.take(world.database, world.job(), "worker", 2, 3)
    assert attempt is not None
    with JobWatch(world.database, attempt.lease, 60) as watch:
        eventually(lambda: lease_left(world, attempt) < 1)
        watch.check()
    with JobWatch(world.database, attempt.lease, 3):
        eventually(lambda: lease_left(world, attempt) > 1.5)


def test_a_watch_sees_what_the_owner_wants(world: World, attempt: Attempt) -> None:
    with JobWatch(world.database, attempt.lease, 60) as watch:
        assert not watch.pause
        world.want(attempt.job.id, "pause")
        eventually(lambda: watch.pause)
        world.want(attempt.job.id, "cancel")
        eventually(lambda: watch.cancel)


def test_a_database_that_is_away_is_waited_for(world: World, attempt: Attempt) -> None:
    door = Unsteady(world.database)
    with JobWatch(door, attempt.lease, 1.5) as watch:
        door.away = True
        eventually(lambda: lease_left(world, attempt) < 59)
        watch.check()
        door.away = False
        world.want(attempt.job.id, "cancel")
        eventually(lambda: watch.cancel)
        watch.check()


def test_a_watch_says_when_the_job_was_lost(world: World, attempt: Attempt) -> None:
    with JobWatch(world.database, attempt.lease, 60) as watch:
        lose(world, attempt)
        with pytest.raises(LeaseLost):
            eventually(lambda: watch.check())


def test_events_wait_in_order_while_the_database_is_away(world: World, attempt: Attempt) -> None:
    door = Unsteady(world.database)
    record = RunRecord(door, attempt)
    door.away = True
    record.event({"event": "started", "start_step": 2, "total_steps": 9})
    record.event({"event": "validation", "step": 3, "loss": 0.5, "metrics": {"accuracy": 0.9}})
    record.checkpoint(3, "file:///3", "d3", 2)
    assert world.events(attempt.job.id, "validation") == []
    door.away = False
    record.event({"event": "log", "level": "warning", "message": "a row was cut"})
    with world.database.read() as session:
        kinds = [event.kind for event in jobs.events_after(session, attempt.job.id, 2)]
    assert kinds == ["log", "validation", "checkpoint", "log"]
    assert [(run.start_step, run.total_steps) for run in world.runs(attempt.job.id)] == [(2, 9)]


def test_a_stale_record_writes_nothing(world: World, attempt: Attempt) -> None:
    record = RunRecord(world.database, attempt)
    lose(world, attempt)
    with pytest.raises(LeaseLost):
        record.event({"event": "progress", "step": 1, "total_steps": 9, "loss": 1.0})
    with pytest.raises(LeaseLost):
        record.checkpoint(3, "file:///3", "d3", 2)
    assert world.events(attempt.job.id, "progress") == world.events(attempt.job.id, "checkpoint") == []
    assert [run.step for run in world.runs(attempt.job.id)] == [0]
