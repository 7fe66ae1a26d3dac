"""Imports: asking for one, holding it, ending it. Only ingestion changes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from shared.contracts.messages import RunImport
from shared.contracts.routes import RUN_IMPORT
from shared.errors import LeaseLost, NotFound
from shared.storage import leases, outbox
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories.failed_imports import next_try
from shared.storage.states import IMPORT_STATES, check_transition
from shared.storage.tables import Import

UNDER_WAY = ("queued", "running")
REASON_CHARACTERS = 2000


@dataclass(frozen=True)
class Figures:
    """How far an import is; 0 is unknown."""

    bytes: int = 0
    total_bytes: int = 0
    rows: int = 0
    rows_per_second: float = 0.0
    eta_seconds: float = 0.0


def ask(
    session: Session,
    pipeline: str,
    uri: str,
    header: dict[str, Any],
    *,
    batch_key: str = "",
    source: str = "",
    id: str = "",
) -> Import:
    """Queues an import, with its message."""
    row = Import(
        id=id or new_id("import"),
        pipeline=pipeline,
        uri=uri,
        header=header,
        batch_key=batch_key,
        source=source,
        state="queued",
        created_at=clock(session),
    )
    session.add(row)
    session.flush()
    outbox.put(session, RUN_IMPORT, RunImport(import_id=row.id))
    return row


def get(session: Session, id: str) -> Import:
    """Raises NotFound."""
    row = session.get(Import, id)
    if row is None:
        raise NotFound(f"no import {id!r}", id=id)
    return row


def by_key(session: Session, pipeline: str, batch_key: str, uri: str) -> Import | None:
    """The newest import that a caller asked for under this key, unless it came to nothing."""
    query = select(Import).where(Import.pipeline == pipeline, Import.batch_key == batch_key, Import.uri == uri)
    query = query.where(Import.state.in_((*UNDER_WAY, "succeeded"))).order_by(Import.created_at.desc()).limit(1)
    return session.scalars(query).one_or_none()


def page(session: Session, pipeline: str, limit: int, offset: int) -> list[Import]:
    """Newest first; of every pipeline when none is named."""
    query = select(Import).order_by(Import.created_at.desc(), Import.id.desc()).limit(limit).offset(offset)
    return list(session.scalars(query.where(Import.pipeline == pipeline) if pipeline else query))


def known(session: Session, ids: Sequence[str]) -> set[str]:
    """Those of some ids that there are imports of."""
    return set(session.scalars(select(Import.id).where(Import.id.in_(ids))))


def under_way(session: Session, pipeline: str, source: str) -> int:
    """How many imports of a source have not ended."""
    query = select(func.count()).select_from(Import)
    query = query.where(Import.pipeline == pipeline, Import.source == source, Import.state.in_(UNDER_WAY))
    return session.execute(query).scalar_one()


def waiting(session: Session, limit: int) -> list[str]:
    """Imports that nobody holds, oldest first."""
    free = or_(Import.lease_expires_at.is_(None), Import.lease_expires_at < clock(session))
    query = select(Import.id).where(Import.state.in_(UNDER_WAY), free).order_by(Import.created_at, Import.id)
    return list(session.scalars(query.limit(limit)))


def take(session: Session, id: str, owner: str, seconds: float) -> Lease | None:
    """Holds an import for `owner`; None when it is over, waits for its time, or someone else has it."""
    lease = leases.take(session, Import, id, owner, seconds, UNDER_WAY)
    if lease is None:
        return None
    row = _held(session, lease)
    if row.state == "queued":
        _move(row, "running")
    row.started_at, row.reason = clock(session), ""
    _write(row, Figures())
    return lease


def progress(session: Session, lease: Lease, figures: Figures, seconds: float) -> None:
    """Renews the lease and notes how far the import is. Raises LeaseLost."""
    leases.renew(session, lease, seconds)
    _write(_held(session, lease), figures)


def finish(session: Session, lease: Lease, batch: str, figures: Figures) -> None:
    """Its batch is there. Raises LeaseLost."""
    row = _held(session, lease)
    row.batch = batch
    _write(row, figures)
    _end(session, lease, row, "succeeded", "")


def fail(session: Session, lease: Lease, reason: str, longest_wait: float = 0) -> None:
    """It came to nothing. A followed file is tried again, after growing waits of at most so many seconds; 0: never.

    Raises LeaseLost.
    """
    row = _held(session, lease)
    row.failures += 1
    row.retry_at = next_try(row.failures, clock(session), longest_wait) if row.source and longest_wait else None
    _end(session, lease, row, "failed", reason)


def give_back(session: Session, lease: Lease, reason: str, seconds: float, *, counted: bool) -> None:
    """Queues it again, not to be taken for so long; an attempt that is not `counted` was nobody's fault.

    Raises LeaseLost.
    """
    row = _held(session, lease)
    row.attempt -= 0 if counted else 1
    row.reason = reason[:REASON_CHARACTERS]
    _move(row, "queued")
    session.flush()
    leases.release(session, lease)
    again = clock(session) + timedelta(seconds=seconds) if seconds else None
    session.execute(update(Import).where(Import.id == row.id).values(lease_expires_at=again))


def cancel(session: Session, id: str, reason: str) -> Import:
    """Ends an import at once; its holder can't write any more. Raises NotFound or IllegalTransition."""
    row = session.get(Import, id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound(f"no import {id!r}", id=id)
    if row.state == "cancelled":
        return row
    _move(row, "cancelled")
    row.reason, row.finished_at = reason[:REASON_CHARACTERS], clock(session)
    row.owner, row.lease_expires_at, row.fence = None, None, row.fence + 1
    return row


def _held(session: Session, lease: Lease) -> Import:
    leases.guard(session, lease)
    row = session.get(Import, lease.id, populate_existing=True)
    if row is None:
        raise LeaseLost(f"import {lease.id} is gone", id=lease.id)
    return row


def _end(session: Session, lease: Lease, row: Import, state: str, reason: str) -> None:
    _move(row, state)
    row.reason, row.finished_at, row.eta_seconds = reason[:REASON_CHARACTERS], clock(session), 0.0
    session.flush()
    leases.release(session, lease)


def _move(row: Import, to: str) -> None:
    check_transition(IMPORT_STATES, f"import {row.id}", row.state, to)
    row.state = to


def _write(row: Import, figures: Figures) -> None:
    row.bytes, row.total_bytes, row.rows = figures.bytes, figures.total_bytes, figures.rows
    row.rows_per_second, row.eta_seconds = figures.rows_per_second, figures.eta_seconds
