"""Evaluations as a repository, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.contracts.routes import EVALUATE_MODEL_VERSION
from shared.errors import LeaseLost, NotFound
from shared.messaging import dead_letters
from shared.storage.database import Database
from shared.storage.leases import Lease
from shared.storage.repositories import evaluations
from shared.storage.tables import DeadLetter, Evaluation, OutboxMessage
from tests.support.wait import eventually


def ask(database: Database) -> Evaluation:
    with database.write() as session:
        return evaluations.request(session, "m", 1)


def take(database: Database, owner: str, seconds: float = 60) -> Lease | None:
    with database.write() as session:
        return evaluations.take(session, "m", 1, owner, seconds)


def lose(database: Database) -> list[str]:
    with database.write() as session:
        return evaluations.reclaim_lost(session, 3)


def sent(database: Database) -> int:
    with database.read() as session:
        return session.query(OutboxMessage).filter_by(task=EVALUATE_MODEL_VERSION.task).count()


def test_asking_many_times_at_once_is_asking_once(any_database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda _: ask(any_database), range(8)))
    assert len({row.id for row in rows}) == 1
    assert sent(any_database) == 1


def test_of_two_takers_one_wins(any_database: Database) -> None:
    ask(any_database)
    with ThreadPoolExecutor(4) as pool:
        leases = list(pool.map(lambda number: take(any_database, f"worker {number}"), range(4)))
    assert sum(lease is not None for lease in leases) == 1


def test_taking_what_nobody_asked_for_is_not_found(any_database: Database) -> None:
    with pytest.raises(NotFound):
        take(any_database, "a")


def test_progress_of_a_stale_holder_changes_nothing(any_database: Database) -> None:
    ask(any_database)
    stale = take(any_database, "slow", 0.01)
    assert stale is not None
    eventually(lambda: lose(any_database))
    assert take(any_database, "quick") is not None
    with pytest.raises(LeaseLost), any_database.write() as session:
        evaluations.progress(session, stale, 5, 10, 60)
    with any_database.read() as session:
        assert (row := evaluations.get(session, "m", 1)).done == 0
        assert row.owner == "quick"


def test_a_lost_evaluation_is_queued_with_a_new_message(any_database: Database) -> None:
    id = ask(any_database).id
    assert take(any_database, "gone", 0.01)
    assert eventually(lambda: lose(any_database)) == [id]
    assert sent(any_database) == 2
    assert lose(any_database) == []


def test_a_returned_evaluation_can_be_taken_at_once(any_database: Database) -> None:
    ask(any_database)
    lease = take(any_database, "a")
    assert lease is not None
    with any_database.write() as session:
        evaluations.give_back(session, lease, "why", counted=False)
    again = take(any_database, "b")
    assert again is not None
    assert (again.attempt, again.fence) == (1, 2)


def test_what_was_given_up_starts_afresh_only_when_its_dead_letter_is_replayed(any_database: Database) -> None:
    ask(any_database)
    lease = take(any_database, "a")
    assert lease is not None
    with any_database.write() as session:
        evaluations.fail(session, lease, "broken")
    assert take(any_database, "b") is None
    with any_database.write() as session:
        letter = session.query(DeadLetter).one()
        assert (letter.error, letter.attempts) == ("broken", 1)
        dead_letters.replay(session, letter.id)
    again = take(any_database, "b")
    assert again is not None
    assert again.attempt == 1
