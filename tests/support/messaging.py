"""A worker with handlers of a test's own, in a thread of the test's process."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.config import Settings, load_settings
from shared.contracts.messages import HoldBatches
from shared.contracts.routes import HOLD_BATCHES, ROUTES, Route
from shared.messaging.handler import Handler, HandlerContext
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import OutboxMessage
from tests.support.wait import eventually

QUEUE = "ingestion"


def messaging_settings(broker_url: str, **overrides: Any) -> Settings:
    """Settings with times short enough for a test."""
    defaults = {"visibility_seconds": 30, "redelivery_seconds": 20.0, "grace_seconds": 20.0}
    return load_settings(broker_url=broker_url, **{**defaults, **overrides})


def do_nothing(message: Any, context: HandlerContext) -> None:
    """A handler."""


def handlers_with(handler: Handler, route: Route = HOLD_BATCHES) -> Mapping[Route, Handler]:
    """Handlers for every route; all but one do nothing."""
    return {**dict.fromkeys(ROUTES.values(), do_nothing), route: handler}


@contextmanager
def running_worker(settings: Settings, database: Database, handler: Handler, concurrency: int = 1) -> Iterator[Worker]:
    """A worker on the ingestion queue whose HOLD_BATCHES goes to `handler`; drained at the end."""
    worker = Worker(settings, database, handlers_with(handler), [QUEUE], concurrency)
    thread = threading.Thread(target=worker.run, name="worker", daemon=True)
    thread.start()
    try:
        assert worker.ready.wait(15), "the worker did not get ready"
        yield worker
    finally:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive(), "the worker did not drain"


@contextmanager
def publishing(settings: Settings, database: Database) -> Iterator[Publisher]:
    """A publisher that hooks the database's commits."""
    publisher = Publisher(settings, database)
    try:
        yield publisher
    finally:
        publisher.close()


def leave(database: Database, name: str = "sentiment", delay_seconds: float = 0) -> str:
    """Leaves a message for the pipeline `name` in the outbox."""
    with database.write() as session:
        return outbox.put(session, HOLD_BATCHES, HoldBatches(pipeline=name), delay_seconds=delay_seconds)


def row(database: Database, id: str) -> OutboxMessage:
    """The outbox row as it is now."""
    with database.read() as session:
        found = session.get(OutboxMessage, id)
    assert found is not None, f"no outbox row {id}"
    return found


def until_done(database: Database, id: str, timeout: float = 20) -> OutboxMessage:
    """Waits for a handler to be done with a message."""

    def done() -> OutboxMessage | None:
        seen = row(database, id)
        return seen if seen.done_at is not None else None

    found = eventually(done, timeout)
    assert found is not None
    return found


@contextmanager
def relaying(publisher: Publisher, interval: float = 0.1) -> Iterator[None]:
    """What the leader does: publishes what is due, again and again."""
    stop = threading.Event()

    def relay() -> None:
        while not stop.wait(interval):
            publisher.publish_due()

    thread = threading.Thread(target=relay, name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
