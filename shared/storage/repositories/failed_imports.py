"""Imports of followed files that came to nothing: what may pass is asked for again, what can't waits for another file."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from shared.contracts.messages import RunImport
from shared.contracts.routes import RUN_IMPORT
from shared.storage import outbox
from shared.storage.database import clock
from shared.storage.states import IMPORT_STATES, check_transition
from shared.storage.tables import Import

FIRST_WAIT_SECONDS = 60.0
MOST = 10_000
"""Of a source that are looked after in one look."""


@dataclass(frozen=True)
class Trouble:
    """Files of a source that should be in and are not; `uri` and `reason` are those of the newest failure."""

    retrying: int = 0
    refused: int = 0
    next_try_at: datetime | None = None
    uri: str = ""
    reason: str = ""


def next_try(failures: int, now: datetime, longest: float) -> datetime:
    """Each wait is as long as all before it together, so that nothing waits much longer than its trouble lasted."""
    return now + timedelta(seconds=min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 30), longest))


def note_there(session: Session, pipeline: str, source: str, there: Collection[str]) -> list[str]:
    """Notes which failed imports have their file among `there` (ids). Returns those that are due, longest due first."""
    now = clock(session)
    query = select(Import.id, Import.is_gone, Import.retry_at)
    query = query.where(Import.pipeline == pipeline, Import.source == source, Import.state == "failed")
    order = (Import.is_gone, Import.created_at, Import.id)  # of what is gone there may be more and more
    rows = session.execute(query.order_by(*order).limit(MOST)).all()
    changed = [{"id": row.id, "is_gone": row.id not in there} for row in rows if row.is_gone == (row.id in there)]
    if changed:
        session.execute(update(Import), changed)
    due = [row for row in rows if row.id in there and row.retry_at is not None and row.retry_at <= now]
    return [row.id for row in sorted(due, key=lambda row: row.retry_at)]


def ask_again(session: Session, id: str) -> None:
    """Queues a failed import anew, with its message. Raises IllegalTransition for one that has not failed."""
    row = session.get_one(Import, id, with_for_update=True, populate_existing=True)
    check_transition(IMPORT_STATES, f"import {id}", row.state, "queued")
    row.state, row.created_at = "queued", clock(session)
    row.attempt, row.retry_at, row.finished_at = 0, None, None
    outbox.put(session, RUN_IMPORT, RunImport(import_id=id))


def trouble(session: Session, pipeline: str, source: str) -> Trouble:
    """How the files of a source stand that are there and not in, as far as they were tried."""
    of_source = (Import.pipeline == pipeline, Import.source == source)
    failed = (*of_source, Import.state == "failed", Import.is_gone.is_(False))
    waiting = (*of_source, Import.state == "queued", Import.reason != "", Import.lease_expires_at.is_not(None))
    retrying = select(func.count(), func.min(Import.retry_at)).where(*failed, Import.retry_at.is_not(None))
    put_off = select(func.count(), func.min(Import.lease_expires_at)).where(*waiting)
    refused = select(func.count()).where(*failed, Import.retry_at.is_(None))
    newest = select(Import.uri, Import.reason).where(or_(and_(*failed), and_(*waiting)))
    last = session.execute(
        newest.order_by(func.coalesce(Import.finished_at, Import.started_at).desc()).limit(1)
    ).first()
    if last is None:
        return Trouble()
    (again, again_at), (later, later_at) = session.execute(retrying).one(), session.execute(put_off).one()
    times = [time for time in (again_at, later_at) if time is not None]
    count = session.execute(refused).scalar_one()
    return Trouble(again + later, count, min(times, default=None), last.uri, last.reason)
