"""Batches and their quarantine. Only ingestion changes them."""

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from shared.errors import NotFound
from shared.storage.database import clock
from shared.storage.states import BATCH_STATES, check_transition
from shared.storage.tables import Batch, QuarantinedRow


def get(session: Session, id: str) -> Batch:
    """Raises NotFound."""
    batch = session.get(Batch, id)
    if batch is None:
        raise NotFound(f"no batch {id!r}", batch=id)
    return batch


def by_key(session: Session, pipeline: str, batch_key: str) -> Batch | None:
    """The batch that a client sent under this key."""
    query = select(Batch).where(Batch.pipeline == pipeline, Batch.batch_key == batch_key)
    return session.scalars(query).one_or_none()


def page(session: Session, pipeline: str, limit: int, offset: int) -> list[Batch]:
    """Batches, newest first; of every pipeline when none is named."""
    query = select(Batch).order_by(Batch.created_at.desc(), Batch.id.desc()).limit(limit).offset(offset)
    return list(session.scalars(query.where(Batch.pipeline == pipeline) if pipeline else query))


def usable(session: Session, pipeline: str, *, statistics: bool = True) -> list[Batch]:
    """Accepted batches that brought rows, oldest first: what the next dataset version holds.

    Without `statistics` those are read when somebody asks for them: they are most of a batch's row.
    """
    query = select(Batch).where(Batch.pipeline == pipeline, Batch.state == "accepted", Batch.part_uri != "")
    query = query if statistics else query.options(defer(Batch.statistics))
    return list(session.scalars(query.order_by(Batch.created_at, Batch.id)))


def move(session: Session, batch: Batch, to: str, reason: str) -> None:
    """Changes the state. Raises IllegalTransition."""
    check_transition(BATCH_STATES, f"batch {batch.id}", batch.state, to)
    batch.state, batch.reason, batch.updated_at = to, reason, clock(session)


def part_uris(session: Session, pipeline: str) -> set[str]:
    """Parts that batches point at now."""
    return set(session.scalars(select(Batch.part_uri).where(Batch.pipeline == pipeline, Batch.part_uri != "")))


def quarantine(session: Session, pipeline: str, batch: str, limit: int, offset: int) -> list[QuarantinedRow]:
    """Rows that were not accepted, in the order they came; of one batch, one pipeline, or both."""
    query = select(QuarantinedRow).order_by(QuarantinedRow.id).limit(limit).offset(offset)
    if pipeline:
        query = query.where(QuarantinedRow.pipeline == pipeline)
    return list(session.scalars(query.where(QuarantinedRow.batch == batch) if batch else query))
