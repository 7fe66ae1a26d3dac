"""Leases with fences: one holder at a time, by the database's clock.

A worker takes by compare-and-set; every take raises the fence; every write of the holder goes through
`guard`, which changes nothing and raises LeaseLost when someone else has taken over since.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from shared.errors import LeaseLost
from shared.storage.database import clock
from shared.storage.tables import Evaluation, Import, Job

Leasable = type[Job] | type[Evaluation] | type[Import]


@dataclass(frozen=True)
class Lease:
    """Proof of a take: who holds what, with which fence."""

    table: Leasable
    id: str
    owner: str
    fence: int
    attempt: int


def take(
    session: Session, table: Leasable, id: str, owner: str, seconds: float, states: tuple[str, ...]
) -> Lease | None:
    """Takes `id` if it is in one of `states` and its lease is free or has run out; None when it is busy.

    The caller moves the state in the same transaction.
    """
    now = clock(session)
    free = or_(table.lease_expires_at.is_(None), table.lease_expires_at < now)
    taken = session.execute(
        update(table)
        .where(table.id == id, table.state.in_(states), free)
        .values(
            owner=owner,
            fence=table.fence + 1,
            attempt=table.attempt + 1,
            lease_expires_at=now + timedelta(seconds=seconds),
        )
        .returning(table.fence, table.attempt)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return Lease(table, id, owner, taken.fence, taken.attempt) if taken else None


def renew(session: Session, lease: Lease, seconds: float) -> None:
    """Pushes the end of the lease out. Raises LeaseLost when it is not ours any more."""
    _set(session, lease, lease_expires_at=clock(session) + timedelta(seconds=seconds))


def release(session: Session, lease: Lease) -> None:
    """Gives the lease back. Raises LeaseLost when it is not ours any more."""
    _set(session, lease, owner=None, lease_expires_at=None)


def guard(session: Session, lease: Lease) -> None:
    """Raises LeaseLost unless the lease is ours; locks the row, so that it stays so until the commit."""
    table = lease.table
    query = select(table.fence).where(table.id == lease.id, table.owner == lease.owner).with_for_update()
    if session.execute(query).scalar_one_or_none() != lease.fence:
        raise LeaseLost(
            f"{table.__tablename__} {lease.id}: fence {lease.fence} is stale", id=lease.id, fence=lease.fence
        )


def _set(session: Session, lease: Lease, **values: object) -> None:
    table = lease.table
    changed = session.execute(
        update(table)
        .where(table.id == lease.id, table.owner == lease.owner, table.fence == lease.fence)
        .values(**values)
        .returning(table.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if changed is None:
        raise LeaseLost(
            f"{table.__tablename__} {lease.id}: fence {lease.fence} is stale", id=lease.id, fence=lease.fence
        )
