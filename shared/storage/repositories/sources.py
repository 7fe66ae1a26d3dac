"""Where followed sources stand. Only ingestion changes it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.storage.database import clock
from shared.storage.tables import SourceState

ERROR_CHARACTERS = 1000
Change = Callable[[dict[str, Any]], None]
"""Changes a cursor in place."""


def find(session: Session, pipeline: str, name: str) -> SourceState | None:
    return session.get(SourceState, (pipeline, name))


def all_of(session: Session, pipeline: str) -> dict[str, SourceState]:
    """Name -> state, of one pipeline."""
    return {row.name: row for row in session.scalars(select(SourceState).where(SourceState.pipeline == pipeline))}


def begin_look(session: Session, pipeline: str, name: str, owner: str, every: float, lease: float) -> bool:
    """Whether it is time for a look, and `owner` is the one to look."""
    held(session, pipeline, name)
    now = clock(session)
    due = or_(SourceState.seen_at.is_(None), SourceState.seen_at <= now - timedelta(seconds=every))
    free = or_(SourceState.owner.is_(None), SourceState.lease_expires_at < now)
    statement = update(SourceState).where(SourceState.pipeline == pipeline, SourceState.name == name, due, free)
    taken = session.execute(
        statement.values(owner=owner, lease_expires_at=now + timedelta(seconds=lease), seen_at=now)
        .returning(SourceState.name)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return taken is not None


def end_look(session: Session, pipeline: str, name: str, owner: str, **values: Any) -> None:
    """Notes what was seen; nothing when another one has taken over."""
    session.execute(
        update(SourceState)
        .where(SourceState.pipeline == pipeline, SourceState.name == name, SourceState.owner == owner)
        .values(owner=None, lease_expires_at=None, **_cut(values))
        .execution_options(synchronize_session=False)
    )


def note(session: Session, pipeline: str, name: str, **values: Any) -> None:
    """Notes what a stream's reader sees."""
    row = held(session, pipeline, name)
    for column, value in _cut(values).items():
        setattr(row, column, value)
    row.seen_at = clock(session)


def add_rows(session: Session, pipeline: str, name: str, rows: int, change: Change | None = None) -> None:
    """Counts rows that came in, and changes the cursor; in the transaction that brings them."""
    row = held(session, pipeline, name)
    row.rows += rows
    if change:
        cursor = dict(row.cursor)
        change(cursor)
        row.cursor = cursor


def held(session: Session, pipeline: str, name: str) -> SourceState:
    """The state, made when there is none yet; nobody else changes it until the commit."""
    query = select(SourceState).where(SourceState.pipeline == pipeline, SourceState.name == name).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is not None:
        return row
    try:
        with session.begin_nested():
            session.add(SourceState(pipeline=pipeline, name=name))
    except IntegrityError:  # another process was first
        pass
    return session.scalars(query.execution_options(populate_existing=True)).one()


def _cut(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "error": values["error"][:ERROR_CHARACTERS]} if "error" in values else values
