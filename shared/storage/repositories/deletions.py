"""Deletions of rows: what was asked for and what it touched, never what a row said. Only ingestion writes them."""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.storage.tables import Deletion, Feedback, ModelVersion, QuarantinedRow

GONE = "(deleted)"
MARK_CHARACTERS = 32
MOST_MARKS = 100_000
"""Of one deletion; what a source brought beyond that is told by the source's name alone."""


def mark(row_id: str) -> str:
    """A row id, hashed once more: shows that a row is meant to who knows it, and nothing to who does not."""
    return sha256(f"deleted:{row_id}".encode()).hexdigest()[:MARK_CHARACTERS]


def of_pipeline(session: Session, pipeline: str) -> Sequence[Deletion]:
    """Oldest first."""
    query = select(Deletion).where(Deletion.pipeline == pipeline)
    return session.scalars(query.order_by(Deletion.created_at, Deletion.id)).all()


def of_row(session: Session, pipeline: str, row_id: str) -> list[Deletion]:
    """Deletions that removed a row, oldest first."""
    wanted = mark(row_id)
    return [one for one in of_pipeline(session, pipeline) if wanted in one.digests]


def forget_texts(session: Session, batches: Collection[str]) -> None:
    """What else is kept of batches that are wholly gone: quoted rows, and the words of feedback that made them."""
    session.execute(delete(QuarantinedRow).where(QuarantinedRow.batch.in_(batches)))
    blank = {"output": "", "correction": None, "comment": GONE}
    session.execute(update(Feedback).where(Feedback.batch.in_(batches)).values(**blank))


def descended(session: Session, model: str, versions: Iterable[int]) -> list[int]:
    """Model versions among these and all that began with the weights of one of them, sorted."""
    found = set(versions)
    query = select(ModelVersion.version, ModelVersion.started_from).where(ModelVersion.model == model)
    for version, started_from in session.execute(query.order_by(ModelVersion.version)):
        if started_from in found:
            found.add(version)
    return sorted(found)
