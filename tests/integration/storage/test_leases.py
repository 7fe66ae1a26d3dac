"""Leases on SQLite and PostgreSQL: one holder at a time, by the database's clock."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import update

from shared.errors import LeaseLost
from shared.storage import leases
from shared.storage.database import Database, clock
from shared.storage.leases import Lease
from shared.storage.tables import Job
from tests.support.wait import eventually

STATES = ("queued",)


def make_job(database: Database, id: str = "job-1") -> None:
    with database.write() as session:
        session.add(
            Job(
                id=id,
                pipeline="sentiment",
                dataset_version=1,
                spec={},
                device="cpu",
                state="queued",
                max_attempts=3,
                trigger="manual",
                created_at=clock(session),
            )
        )


def take(database: Database, owner: str, seconds: float = 30) -> Lease | None:
    with database.write() as session:
        return leases.take(session, Job, "job-1", owner, seconds, STATES)


def must_take(database: Database, owner: str, seconds: float = 30) -> Lease:
    lease = take(database, owner, seconds)
    assert lease is not None
    return lease


def test_of_many_takers_at_once_one_wins(any_database: Database) -> None:
    make_job(any_database)
    won: list[Lease] = []
    start = threading.Barrier(6)

    def rush(owner: str) -> None:
        start.wait()
        lease = take(any_database, owner)
        if lease:
            won.append(lease)

    threads = [threading.Thread(target=rush, args=(f"worker-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (lease,) = won
    assert (lease.fence, lease.attempt) == (1, 1)


def test_a_held_lease_is_busy_and_a_released_one_free_with_a_higher_fence(any_database: Database) -> None:
    make_job(any_database)
    first = must_take(any_database, "first")
    assert take(any_database, "second") is None
    with any_database.write() as session:
        leases.release(session, first)
    second = must_take(any_database, "second")
    assert (second.fence, second.attempt) == (2, 2)


def test_a_lease_runs_out_and_its_old_holder_changes_nothing_any_more(any_database: Database) -> None:
    make_job(any_database)
    first = must_take(any_database, "first", seconds=0.2)
    second = eventually(lambda: take(any_database, "second"))
    assert second is not None
    with pytest.raises(LeaseLost), any_database.write() as session:
        leases.renew(session, first, 30)
    with pytest.raises(LeaseLost), any_database.write() as session:
        leases.release(session, first)
    with pytest.raises(LeaseLost), any_database.write() as session:
        leases.guard(session, first)
    with any_database.write() as session:
        leases.guard(session, second)
        job = session.get(Job, "job-1")
        assert job is not None
        assert (job.owner, job.fence) == ("second", second.fence)


def test_the_same_owner_with_an_older_fence_is_a_stranger(any_database: Database) -> None:
    make_job(any_database)
    first = must_take(any_database, "worker", seconds=0.2)
    second = eventually(lambda: take(any_database, "worker"))
    assert second is not None
    with pytest.raises(LeaseLost, match="stale"), any_database.write() as session:
        leases.renew(session, first, 30)


def test_expiry_goes_by_the_database_s_clock(any_database: Database) -> None:
    make_job(any_database)
    must_take(any_database, "first", seconds=30)
    with any_database.write() as session:
        now = clock(session)
        job = session.get(Job, "job-1")
        assert job is not None
        assert job.lease_expires_at is not None
        assert timedelta(seconds=5) < job.lease_expires_at - now < timedelta(seconds=31)
        session.execute(update(Job).values(lease_expires_at=now - timedelta(milliseconds=1)))
    assert take(any_database, "second") is not None


def test_renewal_pushes_the_end_out(any_database: Database) -> None:
    make_job(any_database)
    lease = must_take(any_database, "first", seconds=1)
    with any_database.write() as session:
        leases.renew(session, lease, 60)
        job = session.get(Job, "job-1", populate_existing=True)
        assert job is not None
        assert job.lease_expires_at is not None
        assert job.lease_expires_at - clock(session) > timedelta(seconds=50)


def test_work_in_another_state_is_not_taken(any_database: Database) -> None:
    make_job(any_database)
    with any_database.write() as session:
        session.execute(update(Job).values(state="cancelled"))
    assert take(any_database, "worker") is None
