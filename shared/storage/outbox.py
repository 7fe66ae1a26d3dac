"""Leaving a message in the outbox, in the transaction that makes it true."""

from datetime import timedelta

from google.protobuf.message import Message
from sqlalchemy.orm import Session

from shared.contracts.codec import encode
from shared.contracts.routes import Route
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.tables import OutboxMessage

GRACE_SECONDS = 1.0
"""The process that wrote a message publishes it at once; after this long the leader's relay does."""


def put(
    session: Session, route: Route, message: Message, *, device: str | None = None, delay_seconds: float = 0
) -> str:
    """Writes the message; it is published after the commit, or `delay_seconds` later. Returns its id."""
    now = clock(session)
    id = new_id("msg")
    due = delay_seconds if delay_seconds > 0 else GRACE_SECONDS
    session.add(
        OutboxMessage(
            id=id,
            task=route.task,
            queue=route.queue_for(device),
            payload=encode(route, message, id, now),
            due_at=now + timedelta(seconds=due),
            created_at=now,
        )
    )
    if delay_seconds <= 0:
        session.info.setdefault("outbox", []).append(id)
    return id
