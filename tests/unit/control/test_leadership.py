import time
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import select

from services.control.leader import LeaderLoop, Part, run_once
from services.control.leadership import Leadership, Term
from shared.errors import LeaseLost, Unavailable
from shared.storage.database import Database, clock
from shared.storage.tables import Leader
from tests.support.wait import eventually


def expire(database: Database) -> None:
    with database.write() as session:
        session.scalars(select(Leader)).one().expires_at = clock(session) - timedelta(seconds=1)


def test_one_of_two_leads_and_the_other_takes_over_after_the_lease(any_database: Database) -> None:
    first, second = Leadership(any_database, "first"), Leadership(any_database, "second")
    for _ in range(2):
        first.step()
        second.step()
    assert first.term is not None
    assert (first.term.fence, second.term) == (1, None)
    expire(any_database)
    second.step()
    assert second.term is not None
    assert second.term.fence == 2


def test_what_a_former_leader_writes_is_refused(any_database: Database) -> None:
    first, second = Leadership(any_database, "first"), Leadership(any_database, "second")
    first.step()
    old = first.term
    assert old is not None
    with any_database.write() as session:
        first.guard(session, old)
    expire(any_database)
    second.step()
    with any_database.write() as session, pytest.raises(LeaseLost, match="fence 1 is stale"):
        first.guard(session, old)
    first.step()
    assert first.term is None


def test_a_leader_that_cannot_renew_stops_by_its_own_clock(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    leadership = Leadership(database, "first", lease_seconds=0.3)
    leadership.step()
    assert leadership.term is not None

    def away() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(database, "write", away)
    leadership.step()
    eventually(lambda: leadership.term is None)


def test_parts_run_only_while_leading_and_a_failing_one_stops_no_other(database: Database) -> None:
    ran, stood_down = Event(), Event()

    def fail(term: Term) -> None:
        raise ValueError("broken")

    parts = [Part("broken", 0.01, fail), Part("good", 0.01, lambda term: ran.set(), stood_down.set)]
    rival = Leadership(database, "rival")
    rival.step()
    loop = LeaderLoop(Leadership(database, "me", lease_seconds=0.4), parts)
    loop.start()
    try:
        assert not ran.wait(0.3)
        expire(database)
        assert ran.wait(5)
        with database.write() as session:
            leader = session.scalars(select(Leader)).one()
            leader.owner, leader.fence = "usurper", leader.fence + 1
            leader.expires_at = clock(session) + timedelta(minutes=1)
        assert stood_down.wait(5)
    finally:
        loop.stop()


def test_a_leader_that_stops_gives_its_lease_back(database: Database) -> None:
    stop, first, second = Event(), Leadership(database, "first"), Leadership(database, "second")
    stop.set()
    first.step()
    first.run(stop)
    time.sleep(0.01)
    second.step()
    assert second.term is not None
    assert second.term.fence == 2


def test_whatever_a_part_raises_is_trouble_and_no_end() -> None:
    term, trouble = Term(1, 0.0), ""
    for error in (LeaseLost("stale"), Unavailable("away"), RuntimeError("broken")):

        def fail(term: Term, error: Exception = error) -> None:
            raise error

        trouble = run_once(Part("part", 1, fail), term, trouble)
        assert str(error) in trouble
        assert run_once(Part("part", 1, fail), term, trouble) == trouble
    assert run_once(Part("part", 1, lambda term: None), term, trouble) == ""
