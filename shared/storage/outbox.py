"""The outbox: messages left in the transaction that makes them true, until a handler is done with them.

A row is due at `due_at`. Publishing, and a handler at work, push that out; nothing but `done_at` ends it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.protobuf.message import Message
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from shared.contracts.codec import encode
from shared.contracts.routes import Route
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.tables import OutboxMessage as Row

GRACE_SECONDS = 1.0
"""The process that wrote a message publishes it at once; after this long the leader's relay does."""
MOST_DOUBLINGS = 6
"""An unfinished message is published again after 1, 2, 4, … times the redelivery time, up to 2 to this."""


@dataclass(frozen=True)
class Parcel:
    """What the broker needs of a row."""

    id: str
    task: str
    queue: str
    payload: bytes


@dataclass(frozen=True)
class Start:
    """A handler's beginning: the how-manieth without an end, and after how many failures."""

    starts: int
    failures: int


def put(
    session: Session, route: Route, message: Message, *, device: str | None = None, delay_seconds: float = 0
) -> str:
    """Writes the message; it is published after the commit, or `delay_seconds` later. Returns its id."""
    now = clock(session)
    id = new_id("msg")
    due = delay_seconds if delay_seconds > 0 else GRACE_SECONDS
    session.add(
        Row(
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


def unpublished(session: Session, ids: Collection[str]) -> list[Parcel]:
    """Those of `ids` that nobody published or handled yet, oldest first."""
    rows = session.execute(
        select(Row.id, Row.task, Row.queue, Row.payload)
        .where(Row.id.in_(ids), Row.done_at.is_(None), Row.published_at.is_(None))
        .order_by(Row.created_at, Row.id)
    )
    return [Parcel(*row) for row in rows]


def mark_published(session: Session, ids: Collection[str], redelivery_seconds: float) -> None:
    """Notes a first publication, unless a handler was faster."""
    now = clock(session)
    session.execute(
        update(Row)
        .where(Row.id.in_(ids), Row.done_at.is_(None), Row.published_at.is_(None))
        .values(publishes=Row.publishes + 1, published_at=now, due_at=now + timedelta(seconds=redelivery_seconds))
        .execution_options(synchronize_session=False)
    )


def claim_due(session: Session, limit: int, redelivery_seconds: float) -> list[Parcel]:
    """Due messages, oldest first, with their next due time pushed out, so that no one else sends them."""
    now = clock(session)
    rows = session.scalars(
        select(Row)
        .where(Row.done_at.is_(None), Row.due_at <= now)
        .order_by(Row.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        wait = redelivery_seconds * 2 ** min(row.publishes, MOST_DOUBLINGS)
        row.due_at, row.published_at, row.publishes = now + timedelta(seconds=wait), now, row.publishes + 1
    return [Parcel(row.id, row.task, row.queue, row.payload) for row in rows]


def give_back(session: Session, ids: Collection[str], seconds: float) -> None:
    """Makes claimed messages due again soon: the broker did not take them."""
    _push_out(session, ids, seconds, publishes=Row.publishes - 1)


def keep_away(session: Session, ids: Collection[str], redelivery_seconds: float) -> None:
    """A handler is still at work on them."""
    _push_out(session, ids, redelivery_seconds)


def begin(session: Session, id: str, redelivery_seconds: float) -> Start | None:
    """A handler starts; None when the message is done already, or gone."""
    now = clock(session)
    row = session.execute(
        update(Row)
        .where(Row.id == id, Row.done_at.is_(None))
        .values(
            starts=Row.starts + 1,
            published_at=func.coalesce(Row.published_at, now),
            due_at=now + timedelta(seconds=redelivery_seconds),
        )
        .returning(Row.starts, Row.failures)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return Start(row.starts, row.failures) if row else None


def finish(session: Session, id: str) -> None:
    """The handler is done with it, for good."""
    session.execute(update(Row).where(Row.id == id, Row.done_at.is_(None)).values(done_at=clock(session)))


def postpone(session: Session, id: str, seconds: float, error: str, *, failed: bool) -> None:
    """The handler wants it again after `seconds`; `failed` counts against the message."""
    _push_out(session, [id], seconds, starts=0, publishes=0, failures=Row.failures + int(failed), error=error[:2000])


def lag_seconds(session: Session) -> float:
    """How long the oldest due message is overdue; 0 when none is."""
    oldest: datetime | None = session.scalar(select(func.min(Row.due_at)).where(Row.done_at.is_(None)))
    return max(0.0, (clock(session) - oldest).total_seconds()) if oldest else 0.0


def prune(session: Session, keep_seconds: float) -> int:
    """Deletes messages done for longer than that; returns how many."""
    before = clock(session) - timedelta(seconds=keep_seconds)
    gone = session.execute(delete(Row).where(Row.done_at < before).returning(Row.id)).all()
    return len(gone)


def _push_out(session: Session, ids: Collection[str], seconds: float, **values: object) -> None:
    session.execute(
        update(Row)
        .where(Row.id.in_(ids), Row.done_at.is_(None))
        .values(due_at=clock(session) + timedelta(seconds=seconds), **values)
        .execution_options(synchronize_session=False)
    )
