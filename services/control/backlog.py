"""What messages are about: which ids still have one that is on its way, or that waits for a person."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.contracts import codec, routes
from shared.contracts.routes import Route
from shared.errors import InvalidArgument
from shared.storage.tables import DeadLetter, OutboxMessage

Key = str | tuple[str, int]

KEYS: dict[Route, Callable[[Any], Key]] = {
    routes.CONSIDER_DATASET_VERSION: lambda message: (message.pipeline, message.version),
    routes.CONSIDER_VERDICT: lambda message: str(message.report),
    routes.EVALUATE_MODEL_VERSION: lambda message: (message.model, message.version),
    routes.HOLD_BATCHES: lambda message: str(message.pipeline),
    routes.BUILD_DATASET_VERSION: lambda message: str(message.pipeline),
    routes.RUN_JOB: lambda message: str(message.job),
}


def waiting(session: Session, route: Route) -> set[Key]:
    """What the route's unfinished messages are about."""
    unfinished = select(OutboxMessage.payload).where(OutboxMessage.task == route.task, OutboxMessage.done_at.is_(None))
    return _keys(route, session.scalars(unfinished).all())


def known(session: Session, route: Route) -> set[Key]:
    """The same, with the dead letters that nobody replayed: those are a person's to decide, not the sweeper's."""
    return waiting(session, route) | dead(session, route)


def dead(session: Session, route: Route) -> set[Key]:
    """What the route's dead letters are about that nobody replayed."""
    given_up = select(DeadLetter.payload).where(DeadLetter.task == route.task, DeadLetter.replayed_at.is_(None))
    return _keys(route, session.scalars(given_up).all())


def unfinished(session: Session, queue: str) -> int:
    """How many messages of a queue no handler is done with."""
    query = select(func.count()).select_from(OutboxMessage)
    return session.scalar(query.where(OutboxMessage.queue == queue, OutboxMessage.done_at.is_(None))) or 0


def _keys(route: Route, payloads: Any) -> set[Key]:
    keys = set()
    for payload in payloads:
        message = _decoded(route, payload)
        if message is not None:
            keys.add(KEYS[route](message))
    return keys


def _decoded(route: Route, payload: bytes) -> Message | None:
    try:
        return codec.decode(route.task, payload).message
    except InvalidArgument:
        return None
