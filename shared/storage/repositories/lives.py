"""What became of the batches that hold a row: acts of operators, dataset versions, model versions, deletions."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.storage.repositories import deletions as all_deletions
from shared.storage.tables import AuditEntry, DatasetVersion, DatasetVersionBatch, Deletion, ModelVersion


def acts(session: Session, batches: Collection[str]) -> list[AuditEntry]:
    """Who held and released these batches, oldest first."""
    query = select(AuditEntry).where(
        AuditEntry.target.in_(batches), AuditEntry.action.in_(("hold_batch", "release_batch"))
    )
    return list(session.scalars(query.order_by(AuditEntry.id)))


def versions(session: Session, pipeline: str, batches: Collection[str]) -> list[tuple[DatasetVersion, str]]:
    """Dataset versions that were sealed with one of these batches, oldest first, with the batch."""
    held = DatasetVersionBatch
    same = (held.pipeline == DatasetVersion.pipeline) & (held.version == DatasetVersion.version)
    query = select(DatasetVersion, held.batch).join(held, same).where(DatasetVersion.pipeline == pipeline)
    query = query.where(held.batch.in_(batches), DatasetVersion.state.in_(("sealed", "expired")))
    return [(version, batch) for version, batch in session.execute(query.order_by(DatasetVersion.version))]


def models(session: Session, pipeline: str, versions: Collection[int]) -> list[ModelVersion]:
    """Model versions that were trained on one of these dataset versions, oldest first."""
    query = select(ModelVersion).where(ModelVersion.model == pipeline, ModelVersion.dataset_version.in_(versions))
    return list(session.scalars(query.order_by(ModelVersion.version)))


def deletions(session: Session, pipeline: str, row_id: str) -> list[Deletion]:
    """Deletions that the row was part of, oldest first."""
    return all_deletions.of_row(session, pipeline, row_id)
