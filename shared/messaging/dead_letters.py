"""Messages that could not be handled, kept for a person, who may send them again."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from shared.contracts.codec import decode
from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.storage import outbox
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.tables import DeadLetter, OutboxMessage


def bury(
    session: Session,
    *,
    queue: str,
    task: str,
    payload: bytes,
    error: str,
    message_id: str = "",
    type_name: str = "",
    attempts: int = 0,
    detail: dict[str, Any] | None = None,
) -> str:
    """Writes a dead letter, and closes the outbox row `message_id` where there is one. Returns its id."""
    now: datetime = clock(session)
    id = new_id("dead")
    session.add(
        DeadLetter(
            id=id,
            queue=queue,
            task=task,
            type_name=type_name,
            payload=payload,
            error=error[:4000],
            attempts=attempts,
            detail={"message_id": message_id, **(detail or {})},
            created_at=now,
        )
    )
    if message_id:
        session.execute(update(OutboxMessage).where(OutboxMessage.id == message_id).values(done_at=now))
    return id


def replay(session: Session, id: str) -> str:
    """Puts a dead letter back into the outbox under a new message id, which it returns.

    Raises NotFound, or FailedPrecondition when it was replayed before or can't be read.
    """
    letter = session.get(DeadLetter, id, with_for_update=True)
    if letter is None:
        raise NotFound(f"no dead letter {id!r}", id=id)
    if letter.replayed_at is not None:
        raise FailedPrecondition(f"dead letter {id!r} was replayed at {letter.replayed_at:%Y-%m-%d %H:%M:%S}", id=id)
    try:
        delivery = decode(letter.task, letter.payload)
    except InvalidArgument as error:
        raise FailedPrecondition(f"dead letter {id!r} can't be replayed: {error}", id=id) from None
    device = letter.queue.rpartition(".")[2] if delivery.route.devices else None
    letter.replayed_at = clock(session)
    return outbox.put(session, delivery.route, delivery.message, device=device)


def count(session: Session) -> int:
    """Dead letters that nobody replayed."""
    waiting = select(func.count()).select_from(DeadLetter).where(DeadLetter.replayed_at.is_(None))
    return int(session.execute(waiting).scalar_one())
