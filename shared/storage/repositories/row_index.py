"""Which batches a pipeline's index of rows is made of, and what has changed about them. Only ingestion changes them."""

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.storage.tables import Batch


class Entry(NamedTuple):
    """A batch as the index sees it."""

    change: int
    batch: str
    state: str
    index_uri: str
    index_digest: str
    part_uri: str
    part_digest: str


def changed(session: Session, batch: Batch) -> None:
    """Numbers a batch that is new, held, released or rewritten, so that every index hears of it. Hold the pipeline's
    lock until the commit: numbers then become visible in their order."""
    query = select(func.coalesce(func.max(Batch.change), 0)).where(Batch.pipeline == batch.pipeline)
    batch.change = int(session.scalar(query) or 0) + 1


def changes(session: Session, pipeline: str, after: int) -> list[Entry]:
    """Batches that have changed since, in order; those from before there were numbers have 0."""
    columns = (Batch.change, Batch.id, Batch.state, *_FILES)
    query = select(*columns).where(Batch.pipeline == pipeline, Batch.change > after)
    return [Entry(*row) for row in session.execute(query.order_by(Batch.change, Batch.created_at, Batch.id))]


_FILES = (Batch.index_uri, Batch.index_digest, Batch.part_uri, Batch.part_digest)
