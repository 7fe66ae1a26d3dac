"""Jobs as operators see them: started by hand, steered, listed with the progress of their newest run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.control import audit, declaring, triggers, waiting
from services.control.fitness import unfit
from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.pipelines.changing import changed_spec
from shared.pipelines.schema import PipelineSpec
from shared.storage.repositories import budgets, datasets, jobs, pipelines
from shared.storage.repositories.budgets import Amount
from shared.storage.repositories.jobs import Wanted
from shared.storage.tables import Checkpoint, DatasetVersion, Job, Run

MANUAL = "manual"
NOTHING = Amount()


@dataclass(frozen=True)
class JobView:
    """A job and its newest run; None before the first."""

    job: Job
    run: Run | None
    spent: Amount = NOTHING
    waits_for: str = ""
    """Why a queued job can't begin now; empty when it only waits for its turn."""


@dataclass(frozen=True)
class Order:
    """A job that an operator asks for. `dataset_version` 0: the newest sealed one, of a clone that of its model."""

    pipeline: str
    dataset_version: int = 0
    idempotency_key: str = ""
    clone_of: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Dotted keys of the pipeline file with other values, for this job alone."""
    priority: int | None = None
    """In the queue; None: the pipeline's."""


def create(session: Session, order: Order, *, device: str, max_attempts: int) -> JobView:
    """Starts training by hand; the same key gives the same job.

    Raises NotFound, InvalidArgument for changes that can't be, or FailedPrecondition when there is no sealed
    version, or none that can be trained on.
    """
    pipeline = order.pipeline
    pipelines.lock(session, pipeline)
    row = pipelines.get(session, pipeline)
    key = f"{MANUAL}:{pipeline}:{order.idempotency_key}" if order.idempotency_key else None
    made = key and session.scalars(select(Job).where(Job.idempotency_key == key)).one_or_none()
    if made:
        return view(session, made)
    model = _model(session, order)
    spec = model.spec if model else row.spec
    if order.changes:
        changed = changed_spec(spec, order.changes)
        declaring.check_models(session, changed)
        declaring.check_priority(changed)
        spec = changed.model_dump(mode="json")
    dataset = trainable(
        session, pipeline, order.dataset_version or (model.dataset_version if model else 0), PipelineSpec(**spec)
    )
    job = jobs.create(
        session,
        pipeline=pipeline,
        dataset_version=dataset.version,
        spec=spec,
        trigger=MANUAL,
        device=device,
        max_attempts=max_attempts,
        idempotency_key=key,
        clone_of=model.id if model else None,
        **_priority(order),
    )
    decision = triggers.Decision("start", f"an operator asked for it{_told(order)}")
    triggers.record(session, pipeline, dataset.version, MANUAL, decision, job)
    audit.record(session, "create_job", job.id, pipeline=pipeline, dataset_version=dataset.version, **_detail(order))
    return view(session, job)


def trainable(session: Session, pipeline: str, version: int, spec: PipelineSpec) -> DatasetVersion:
    """A sealed dataset version that can be trained on, the newest one for 0. Raises NotFound or FailedPrecondition."""
    dataset = _dataset(session, pipeline, version)
    reason = unfit(dataset, spec)
    if reason is not None:
        raise FailedPrecondition(
            f"dataset version {dataset.version} of {pipeline!r} can't be trained on: {reason}", pipeline=pipeline
        )
    return dataset


def steer(session: Session, job_id: str, wanted: Wanted) -> JobView:
    """Cancels, pauses or resumes a job. Raises NotFound, or FailedPrecondition when it has ended."""
    job = jobs.want(session, job_id, wanted)
    audit.record(session, {"cancel": "cancel_job", "pause": "pause_job", "run": "resume_job"}[wanted], job_id)
    return view(session, job)


def get(session: Session, job_id: str) -> JobView:
    """Raises NotFound."""
    return view(session, jobs.get(session, job_id))


def view(session: Session, job: Job) -> JobView:
    return _views(session, [job])[0]


def page(session: Session, pipeline: str, limit: int, offset: int) -> list[JobView]:
    """Jobs of a pipeline, or of all when it is empty, newest first."""
    query = select(Job).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit).offset(offset)
    if pipeline:
        query = query.where(Job.pipeline == pipeline)
    return _views(session, session.scalars(query).all())


def runs(session: Session, job_id: str) -> list[Run]:
    """Attempts at a job, oldest first. Raises NotFound."""
    jobs.get(session, job_id)
    return list(session.scalars(select(Run).where(Run.job == job_id).order_by(Run.attempt)))


def checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """Checkpoints of a job, oldest first. Raises NotFound."""
    jobs.get(session, job_id)
    return list(session.scalars(select(Checkpoint).where(Checkpoint.job == job_id).order_by(Checkpoint.id)))


def _views(session: Session, found: Sequence[Job]) -> list[JobView]:
    ids = [job.id for job in found]
    newest = (
        select(Run.job, func.max(Run.attempt).label("attempt")).where(Run.job.in_(ids)).group_by(Run.job).subquery()
    )
    query = select(Run).join(newest, (Run.job == newest.c.job) & (Run.attempt == newest.c.attempt))
    by_job = {run.job: run for run in session.scalars(query)}
    spent, waits_for = budgets.spent(session, ids), waiting.reasons(session, found)
    return [JobView(job, by_job.get(job.id), spent.get(job.id, NOTHING), waits_for.get(job.id, "")) for job in found]


def _priority(order: Order) -> dict[str, int]:
    if order.priority is None:
        return {}
    if not -100 <= order.priority <= 100:
        raise InvalidArgument(f"priority: {order.priority} is not between -100 and 100", field="priority")
    return {"priority": order.priority}


def _model(session: Session, order: Order) -> Job | None:
    """The job that an order is a clone of."""
    if not order.clone_of:
        return None
    model = jobs.get(session, order.clone_of)
    if model.pipeline != order.pipeline:
        raise InvalidArgument(
            f"clone_of: {model.id} is a job of pipeline {model.pipeline!r}, not of {order.pipeline!r}", field="clone_of"
        )
    return model


def _told(order: Order) -> str:
    clone = f", as {order.clone_of}" if order.clone_of else ""
    changes = ", ".join(f"{key} {value}" for key, value in sorted(order.changes.items()))
    return f"{clone}, with {changes}" if changes else clone


def _detail(order: Order) -> dict[str, Any]:
    """What an audit entry says about a job that is not simply its pipeline's."""
    return ({"clone_of": order.clone_of} if order.clone_of else {}) | (
        {"changes": dict(order.changes)} if order.changes else {}
    )


def _dataset(session: Session, pipeline: str, version: int) -> DatasetVersion:
    if version == 0:
        newest = datasets.newest_sealed(session, pipeline)
        if newest is None:
            raise FailedPrecondition(f"pipeline {pipeline!r} has no sealed dataset version yet", pipeline=pipeline)
        return newest
    dataset = session.get(DatasetVersion, (pipeline, version))
    if dataset is None:
        raise NotFound(f"pipeline {pipeline!r} has no dataset version {version}", pipeline=pipeline)
    if dataset.state != "sealed":
        raise FailedPrecondition(f"dataset version {version} of {pipeline!r} is {dataset.state}, not sealed")
    return dataset
