"""Verification: a job that trains a version again from its lineage, to compare the bytes."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import audit, training
from services.control.training import JobView
from shared.errors import FailedPrecondition
from shared.storage.repositories import jobs, models
from shared.storage.tables import DatasetVersion, Job, ModelVersion, Run

VERIFY = "verify"


def verify(session: Session, model: str, version: int, idempotency_key: str, *, max_attempts: int) -> JobView:
    """Queues the job; 0 stands for the champion, the same key gives the same job.

    Raises NotFound, or FailedPrecondition when the version can't be made again: its job or dataset version is gone,
    or it was not trained on a CPU.
    """
    key = f"{VERIFY}:{model}:{idempotency_key}" if idempotency_key else None
    made = key and session.scalars(select(Job).where(Job.idempotency_key == key)).one_or_none()
    if made:
        return training.view(session, made)
    row = models.get_version(session, model, version)
    original = _original(session, row)
    job = jobs.create(
        session,
        pipeline=model,
        dataset_version=row.dataset_version,
        spec=original.spec,
        trigger=VERIFY,
        device=original.device,
        max_attempts=max_attempts,
        idempotency_key=key,
        sort=VERIFY,
        verifies=row.version,
        clone_of=_trained_by(session, row),
        budget=original.budget,
    )
    audit.record(session, "verify_model", model, version=row.version, job=job.id)
    return training.view(session, job)


def _trained_by(session: Session, row: ModelVersion) -> str:
    """The job whose run made the weights: that of a search's trial, where its model was taken over."""
    run = session.get(Run, row.run)
    return run.job if run else row.job


def _original(session: Session, row: ModelVersion) -> Job:
    what = f"{row.model} version {row.version} can't be made again"
    job = session.get(Job, row.job)
    if job is None:
        raise FailedPrecondition(f"{what}: its job {row.job} is gone", model=row.model, version=row.version)
    if row.conditions.get("device", job.device) != "cpu":
        raise FailedPrecondition(
            f"{what} byte by byte: it was trained on a GPU, whose sums have no fixed order",
            model=row.model,
            version=row.version,
        )
    dataset = session.get(DatasetVersion, (row.model, row.dataset_version))
    if dataset is None or dataset.state != "sealed":
        state = "gone" if dataset is None else dataset.state
        raise FailedPrecondition(
            f"{what}: its dataset version {row.dataset_version} is {state}", model=row.model, version=row.version
        )
    return job
