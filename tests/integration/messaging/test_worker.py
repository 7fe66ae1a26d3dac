"""A worker that comes back from what Celery calls unrecoverable, and a publisher's smaller duties."""

from datetime import timedelta

import pytest

from shared.contracts.messages import HoldBatches
from shared.messaging import broker, transport
from shared.messaging.handler import HandlerContext
from shared.storage.database import Database, clock
from shared.storage.tables import OutboxMessage
from tests.support.messaging import (
    QUEUE,
    do_nothing,
    leave,
    messaging_settings,
    publishing,
    relaying,
    running_worker,
    until_done,
)
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def test_a_worker_starts_again_after_an_error_that_ends_celery_s(
    valkey: Valkey, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = messaging_settings(valkey.url, redelivery_seconds=1.0)
    check = transport._problem
    raised: list[object] = []

    def fail_once(message: object) -> str:
        if not raised:
            raised.append(message)
            raise RuntimeError("a bug in the transport")
        return check(message)

    monkeypatch.setattr(transport, "_problem", fail_once)
    with (
        publishing(settings, database) as publisher,
        running_worker(settings, database, do_nothing),
        relaying(publisher),
    ):
        until_done(database, leave(database), 30)
        until_done(database, leave(database), 30)
    assert len(raised) == 1


def test_several_messages_are_handled_at_once_when_the_worker_has_room(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    together: list[int] = []
    running: set[str] = set()

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        running.add(context.message_id)
        eventually(lambda: len(running) == 3)
        together.append(len(running))

    with publishing(settings, database), running_worker(settings, database, handler, concurrency=3):
        for id in [leave(database) for _ in range(3)]:
            until_done(database, id)
    assert together == [3, 3, 3]


def test_a_worker_takes_no_more_than_it_handles(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    began: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        began.append(context.message_id)
        context.draining.wait(20)

    with publishing(settings, database), running_worker(settings, database, handler):
        for _ in range(4):
            leave(database)
        eventually(lambda: began)
        eventually(lambda: broker.queue_stats(settings)[QUEUE].depth == 3)
        with valkey.client() as client:
            assert client.zcard("unacked_index") == 1
    assert len(began) == 1


def test_a_publisher_forgets_what_was_done_an_hour_ago(valkey: Valkey, database: Database) -> None:
    with publishing(messaging_settings(valkey.url), database) as publisher:
        old, fresh = leave(database), leave(database)
        with database.write() as session:
            for id, age in ((old, timedelta(hours=2)), (fresh, timedelta(minutes=59))):
                found = session.get(OutboxMessage, id)
                assert found is not None
                found.done_at = clock(session) - age
        assert publisher.prune() == 1
    with database.read() as session:
        assert session.get(OutboxMessage, old) is None


def test_a_backlog_larger_than_one_round_is_published_in_rounds(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    for _ in range(5):
        leave(database, delay_seconds=0.01)
    with publishing(settings, database) as publisher:
        rounds: list[int] = []
        eventually(lambda: rounds.append(publisher.publish_due(limit=2)) or sum(rounds) == 5)
        assert max(rounds) <= 2
        assert publisher.publish_due(limit=2) == 0
    assert broker.queue_stats(settings)[QUEUE].depth == 5
