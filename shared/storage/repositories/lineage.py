"""From an answer, or a model version, back to the batches that its rows came in."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.storage.repositories import models
from shared.storage.tables import (
    Answer,
    Batch,
    DatasetVersion,
    DatasetVersionBatch,
    Job,
    ModelVersion,
    Report,
    Run,
)


@dataclass(frozen=True)
class Lineage:
    """What made a model version. All but the names is None when the untouched base model answered."""

    model: str
    request_id: str = ""
    version: ModelVersion | None = None
    run: Run | None = None
    job: Job | None = None
    dataset: DatasetVersion | None = None
    batches: tuple[Batch, ...] = ()
    report: Report | None = None
    revisions: tuple[str, ...] = ()
    """Code revisions that trained it, first to last."""


def of_answer(session: Session, request_id: str) -> Lineage:
    """Lineage of an answer that was given in the last day. Raises NotFound."""
    newest = select(Answer).where(Answer.request_id == request_id).order_by(Answer.created_at.desc()).limit(1)
    answer = session.scalars(newest).first()
    if answer is None:
        raise NotFound(f"no answer to request {request_id!r}; answers are kept for a day", request_id=request_id)
    if answer.version == 0:
        return Lineage(answer.model, request_id)
    return of_version(session, answer.model, answer.version, request_id)


def of_version(session: Session, model: str, version: int = 0, request_id: str = "") -> Lineage:
    """Lineage of a model version; 0 stands for the champion. Raises NotFound."""
    row = models.get_version(session, model, version)
    return Lineage(
        model=model,
        request_id=request_id,
        version=row,
        run=session.get(Run, row.run),
        job=session.get(Job, row.job),
        dataset=session.get(DatasetVersion, (model, row.dataset_version)),
        batches=tuple(_batches(session, model, row.dataset_version)),
        report=models.newest_report(session, model, row.version),
        revisions=tuple(_revisions(session, row)),
    )


def _revisions(session: Session, version: ModelVersion) -> list[str]:
    """Those of checkpoints that some run of the job went on at, then that of the run that made the version."""
    query = select(Run.id, Run.revision, Run.resumed_revision).where(Run.job == version.job).order_by(Run.attempt)
    runs = session.execute(query).all()
    found = [row.resumed_revision for row in runs] + [row.revision for row in runs if row.id == version.run]
    return list(dict.fromkeys(filter(None, found)))


def _batches(session: Session, pipeline: str, version: int) -> list[Batch]:
    held = (DatasetVersionBatch.pipeline == pipeline) & (DatasetVersionBatch.version == version)
    joined = select(Batch).join(DatasetVersionBatch, DatasetVersionBatch.batch == Batch.id)
    return list(session.scalars(joined.where(held).order_by(Batch.created_at, Batch.id)))
