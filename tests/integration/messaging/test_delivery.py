"""From a commit to a handler and to the end of the outbox row, on a real Valkey."""

import itertools
import statistics
import threading
import time

from prometheus_client import REGISTRY

from shared.contracts.messages import HoldBatches
from shared.contracts.routes import HOLD_BATCHES
from shared.errors import Unavailable
from shared.messaging import broker, dead_letters
from shared.messaging.handler import HandlerContext
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import DeadLetter, OutboxMessage
from tests.support.messaging import (
    QUEUE,
    leave,
    messaging_settings,
    publishing,
    relaying,
    row,
    running_worker,
    until_done,
)
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def letters(database: Database) -> list[DeadLetter]:
    with database.read() as session:
        return list(session.query(DeadLetter).all())


def test_a_committed_message_reaches_its_handler_within_50_ms(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    seen: dict[str, float] = {}

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        seen[context.message_id] = time.monotonic()

    waits = []
    with publishing(settings, database), running_worker(settings, database, handler):
        for _ in range(15):
            began = time.monotonic()
            id = leave(database)
            eventually(lambda id=id: id in seen, interval=0.002)  # type: ignore[misc]
            waits.append(seen[id] - began)
        until_done(database, id)
    assert statistics.median(waits) < 0.05


def test_a_message_of_a_rolled_back_transaction_is_never_sent(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)

    class Change(Exception):
        pass

    with publishing(settings, database) as publisher:
        try:
            with database.write() as session:
                outbox.put(session, HOLD_BATCHES, HoldBatches(pipeline="lost"))
                raise Change
        except Change:
            pass
        assert publisher.publish_due() == 0
    assert broker.queue_stats(settings)[QUEUE].depth == 0


def test_one_message_delivered_ten_times_has_one_effect(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    effects: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        effects.append(context.message_id)

    with publishing(settings, database):
        id = leave(database)
        eventually(lambda: broker.queue_stats(settings)[QUEUE].depth == 1)
    with valkey.client() as client:
        entry = client.lindex(QUEUE, 0)
        assert isinstance(entry, bytes)
        for _ in range(9):
            client.lpush(QUEUE, entry)
    with running_worker(settings, database, handler, concurrency=3):
        until_done(database, id)
        eventually(lambda: broker.queue_stats(settings)[QUEUE].depth == 0)
    assert effects == [id]


def test_messages_that_the_queue_lost_are_handled_all_the_same(valkey: Valkey, any_database: Database) -> None:
    settings = messaging_settings(valkey.url, redelivery_seconds=1.0)
    effects: list[str] = []

    database = any_database

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        effects.append(message.pipeline)

    with publishing(settings, database) as publisher:
        ids = [leave(database, f"pipeline-{number}") for number in range(5)]
        eventually(lambda: broker.queue_stats(settings)[QUEUE].depth == 5)
        with valkey.client() as client:
            client.flushdb()
        with running_worker(settings, database, handler), relaying(publisher):
            for id in ids:
                until_done(database, id)
    assert sorted(effects) == [f"pipeline-{number}" for number in range(5)]


def test_a_retryable_error_is_no_failure_and_comes_again_after_its_time(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url, max_attempts=2)
    starts: list[float] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        starts.append(time.monotonic())
        if len(starts) < 4:
            raise Unavailable("not yet", retry_seconds=0.3)

    with publishing(settings, database) as publisher, running_worker(settings, database, handler), relaying(publisher):
        done = until_done(database, leave(database))
    assert len(starts) == 4
    assert all(later - sooner >= 0.25 for sooner, later in itertools.pairwise(starts))
    assert done.failures == 0
    assert letters(database) == []


def test_a_handler_that_keeps_failing_ends_as_a_dead_letter_that_can_be_replayed(
    valkey: Valkey, database: Database
) -> None:
    settings = messaging_settings(valkey.url, max_attempts=2)
    broken = threading.Event()
    broken.set()
    effects: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        if broken.is_set():
            raise RuntimeError("broken inside")
        effects.append(message.pipeline)

    with publishing(settings, database) as publisher, running_worker(settings, database, handler), relaying(publisher):
        id = leave(database, "sentiment")
        until_done(database, id)
        (letter,) = letters(database)
        assert (letter.queue, letter.task, letter.attempts) == (QUEUE, "ingestion.hold_batches", 2)
        assert letter.error == "RuntimeError: broken inside"
        assert letter.type_name == "flywheel.ingestion.v1.HoldBatches"
        broken.clear()
        with database.write() as session:
            again = dead_letters.replay(session, letter.id)
        until_done(database, again)
    assert effects == ["sentiment"]


def test_a_failed_message_is_taken_again_by_the_same_worker(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    attempts: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        attempts.append(context.message_id)
        if len(attempts) == 1:
            raise ValueError("once")

    with publishing(settings, database) as publisher, running_worker(settings, database, handler), relaying(publisher):
        done = until_done(database, leave(database))
    assert done.failures == 1
    assert done.error == "ValueError: once"
    assert len(attempts) == 2


def test_a_delayed_message_waits_for_its_time(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    handled: list[float] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        handled.append(time.monotonic())

    with publishing(settings, database) as publisher, running_worker(settings, database, handler), relaying(publisher):
        began = time.monotonic()
        until_done(database, leave(database, delay_seconds=1.0))
    assert handled[0] - began >= 0.95


def test_a_handler_longer_than_the_visibility_timeout_runs_once(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url, visibility_seconds=2, redelivery_seconds=1.0)
    starts: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        starts.append(context.message_id)
        time.sleep(6)

    with (
        publishing(settings, database) as publisher,
        running_worker(settings, database, handler, concurrency=2),
        relaying(publisher),
    ):
        id = leave(database)
        eventually(lambda: len(starts) == 1)
        published = eventually(lambda: row(database, id).publishes)
        until_done(database, id)
        with valkey.client() as client:
            eventually(lambda: client.zcard("unacked_index") == 0)
            assert client.llen(QUEUE) == 0
        assert row(database, id).publishes == published, "the relay sent a message that was being handled"
    assert starts == [id]


def test_a_message_that_ended_its_worker_too_often_is_given_up(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    effects: list[str] = []

    def handler(message: HoldBatches, context: HandlerContext) -> None:
        effects.append(context.message_id)

    with publishing(settings, database) as publisher:
        id = leave(database)
        with database.write() as session:
            found = session.get(OutboxMessage, id)
            assert found is not None
            found.starts = 10
        with running_worker(settings, database, handler), relaying(publisher):
            until_done(database, id)
    assert effects == []
    assert letters(database)[0].error == "its worker ended 10 times while handling it"


def test_handling_is_measured(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    labels = {"task": "ingestion.hold_batches", "outcome": "done"}

    def count(name: str, labels: dict[str, str]) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = count("flywheel_task_seconds_count", labels)
    waited = count("flywheel_queue_wait_seconds_count", {"queue": QUEUE})
    with publishing(settings, database), running_worker(settings, database, lambda message, context: None):
        until_done(database, leave(database))
        eventually(lambda: count("flywheel_task_seconds_count", labels) == before + 1)
    assert count("flywheel_queue_wait_seconds_count", {"queue": QUEUE}) == waited + 1


def test_queue_stats_tell_depth_and_age(valkey: Valkey, database: Database) -> None:
    settings = messaging_settings(valkey.url)
    assert broker.ping(settings)
    with publishing(settings, database):
        for _ in range(3):
            leave(database)
        eventually(lambda: broker.queue_stats(settings)[QUEUE].depth == 3)
    eventually(lambda: broker.queue_stats(settings)[QUEUE].oldest_age_seconds > 0.2)
    assert broker.queue_stats(settings)["control"] == broker.QueueStats(0, 0.0)
