"""The outbox's rows on SQLite and PostgreSQL."""

import threading
from datetime import timedelta

import pytest

from shared.contracts.messages import HoldBatches, RunJob
from shared.contracts.routes import HOLD_BATCHES, RUN_JOB
from shared.errors import InvalidArgument
from shared.storage import outbox
from shared.storage.database import Database, clock
from shared.storage.tables import OutboxMessage
from tests.support.wait import eventually

REDELIVERY = 60.0


def put(database: Database, delay_seconds: float = 0) -> str:
    with database.write() as session:
        return outbox.put(session, HOLD_BATCHES, HoldBatches(pipeline="p"), delay_seconds=delay_seconds)


def row(database: Database, id: str) -> OutboxMessage:
    with database.read() as session:
        found = session.get(OutboxMessage, id)
    assert found is not None
    return found


def make_due(database: Database) -> None:
    with database.write() as session:
        for message in session.query(OutboxMessage):
            message.due_at = clock(session) - timedelta(seconds=1)


def claim(database: Database, limit: int = 10) -> list[str]:
    with database.write() as session:
        return [parcel.id for parcel in outbox.claim_due(session, limit, REDELIVERY)]


def wait_of(database: Database, id: str) -> float:
    """Seconds until the message is due."""
    with database.read() as session:
        found = session.get(OutboxMessage, id)
        assert found is not None
        return (found.due_at - clock(session)).total_seconds()


def test_a_message_is_as_true_as_its_transaction(any_database: Database) -> None:
    told: list[str] = []
    any_database.after_commit = told.extend

    def fail() -> None:
        with any_database.write() as session:
            outbox.put(session, HOLD_BATCHES, HoldBatches())
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert told == []
    with any_database.read() as session:
        assert session.query(OutboxMessage).count() == 0
    id = put(any_database)
    assert told == [id]


def test_a_delayed_message_is_not_announced_and_due_later(any_database: Database) -> None:
    told: list[str] = []
    any_database.after_commit = told.extend
    id = put(any_database, delay_seconds=30)
    assert told == []
    assert 25 < wait_of(any_database, id) <= 30
    assert claim(any_database) == []


def test_a_message_for_a_device_goes_to_the_device_s_queue(any_database: Database) -> None:
    with any_database.write() as session:
        id = outbox.put(session, RUN_JOB, RunJob(job="job-1"), device="gpu")
        with pytest.raises(InvalidArgument):
            outbox.put(session, RUN_JOB, RunJob(job="job-1"), device="tpu")
    assert row(any_database, id).queue == "finetuning.gpu"


def test_an_announced_message_is_the_relay_s_after_a_grace(any_database: Database) -> None:
    id = put(any_database)
    assert claim(any_database) == []
    assert eventually(lambda: claim(any_database)) == [id]


def test_a_claimed_message_is_not_claimed_again(any_database: Database) -> None:
    ids = {put(any_database) for _ in range(8)}
    make_due(any_database)
    claimed: list[str] = []
    threads = [threading.Thread(target=lambda: claimed.extend(claim(any_database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed.extend(claim(any_database))
    assert len(claimed) == 8
    assert set(claimed) == ids


def test_the_time_between_two_publications_doubles_up_to_64_times(any_database: Database) -> None:
    id = put(any_database)
    waits = []
    for _ in range(9):
        make_due(any_database)
        claim(any_database)
        waits.append(round(wait_of(any_database, id) / REDELIVERY))
    assert waits == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_what_the_broker_did_not_take_is_due_again_soon(any_database: Database) -> None:
    id = put(any_database)
    make_due(any_database)
    claim(any_database)
    with any_database.write() as session:
        outbox.give_back(session, [id], 1.0)
    assert wait_of(any_database, id) <= 1
    assert row(any_database, id).publishes == 0


def test_a_handler_that_was_faster_than_the_publisher_is_not_overruled(any_database: Database) -> None:
    id = put(any_database)
    with any_database.write() as session:
        assert outbox.begin(session, id, REDELIVERY) == outbox.Start(1, 0)
    with any_database.write() as session:
        outbox.postpone(session, id, 2.0, "later", failed=False)
    with any_database.write() as session:
        outbox.mark_published(session, [id], REDELIVERY)
    assert wait_of(any_database, id) <= 2


def test_a_done_message_begins_no_more(any_database: Database) -> None:
    id = put(any_database)
    with any_database.write() as session:
        outbox.begin(session, id, REDELIVERY)
        outbox.finish(session, id)
    with any_database.write() as session:
        assert outbox.begin(session, id, REDELIVERY) is None
        assert outbox.begin(session, "msg-gone", REDELIVERY) is None
        assert outbox.unpublished(session, [id]) == []


def test_failures_are_counted_and_starts_forgotten_at_an_end(any_database: Database) -> None:
    id = put(any_database)
    for failures in range(2):
        with any_database.write() as session:
            assert outbox.begin(session, id, REDELIVERY) == outbox.Start(1, failures)
        with any_database.write() as session:
            outbox.postpone(session, id, 0.1, "ValueError: no", failed=True)
    seen = row(any_database, id)
    assert (seen.failures, seen.starts, seen.error) == (2, 0, "ValueError: no")


def test_the_lag_is_that_of_the_oldest_due_message(any_database: Database) -> None:
    with any_database.read() as session:
        assert outbox.lag_seconds(session) == 0
    put(any_database, delay_seconds=60)
    id = put(any_database)
    with any_database.write() as session:
        found = session.get(OutboxMessage, id)
        assert found is not None
        found.due_at = clock(session) - timedelta(seconds=10)
    with any_database.read() as session:
        assert 10 <= outbox.lag_seconds(session) < 55


def test_pruning_takes_old_done_messages_only(any_database: Database) -> None:
    old, fresh, open_ = put(any_database), put(any_database), put(any_database)
    with any_database.write() as session:
        for id, age in ((old, 7200), (fresh, 60)):
            found = session.get(OutboxMessage, id)
            assert found is not None
            found.done_at = clock(session) - timedelta(seconds=age)
    with any_database.write() as session:
        assert outbox.prune(session, 3600) == 1
    with any_database.read() as session:
        assert {message.id for message in session.query(OutboxMessage)} == {fresh, open_}
