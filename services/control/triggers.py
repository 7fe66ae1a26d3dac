"""Whether a sealed dataset version starts a job. Every decision is kept, also when it is no."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.control import backlog
from services.control.fitness import unfit
from shared.contracts import routes
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import clock
from shared.storage.repositories import datasets, jobs, pipelines, status
from shared.storage.tables import Batch, DatasetVersion, DatasetVersionBatch, Job, Pipeline, TriggerDecision
from shared.telemetry.metrics import TRIGGER_DECISIONS

NEW_ROWS = "new_rows"


@dataclass(frozen=True)
class Decision:
    """`start`, `wait` or `no`, and why. `retry_seconds` is set when only time is missing."""

    decision: str
    reason: str
    retry_seconds: float | None = None


def consider(session: Session, pipeline: str, version: int, *, device: str, max_attempts: int) -> Decision | None:
    """Decides about a dataset version, and creates the job when the answer is `start`.

    Decisions about one pipeline are serialised, so two messages at once start one job. None when there is
    nothing to decide: the version is unknown or not sealed, or it has started a job before.
    """
    row = pipelines.lock(session, pipeline)
    dataset = session.get(DatasetVersion, (pipeline, version))
    if row is None or dataset is None or dataset.state != "sealed":
        return None
    last = newest_decision(session, pipeline, version)
    if last is not None and last.decision == "start":
        return None
    decision = decide(session, row, dataset)
    job = None
    if decision.decision == "start":
        job = jobs.create(
            session,
            pipeline=pipeline,
            dataset_version=version,
            spec=row.spec,
            trigger=NEW_ROWS,
            device=device,
            max_attempts=max_attempts,
            idempotency_key=f"{NEW_ROWS}:{pipeline}:{version}",
        )
    if last is None or (last.decision, last.reason) != (decision.decision, decision.reason):
        record(session, pipeline, version, NEW_ROWS, decision, job)
    return decision


def decide(session: Session, pipeline: Pipeline, dataset: DatasetVersion) -> Decision:
    """What the trigger says now. Reasons hold no countdowns: the same situation gives the same words."""
    newest = datasets.newest_sealed(session, pipeline.name)
    spec = PipelineSpec.model_validate(pipeline.spec)
    if pipeline.deleted_at is not None:
        return Decision("no", "the pipeline was deleted")
    if newest is not None and newest.version > dataset.version:
        return Decision("no", f"superseded by dataset version {newest.version}")
    if spec.trigger.new_rows is None:
        return Decision("no", "the pipeline has no new_rows trigger")
    last = _last_job(session, pipeline.name)
    rows = new_rows(session, dataset, last)
    seen = f"{rows} new rows since {f'dataset version {last.dataset_version}' if last else 'the start'}"
    if rows < spec.trigger.new_rows:
        return Decision("no", f"{seen}; {spec.trigger.new_rows} are needed")
    reason = unfit(dataset, spec)
    if reason is not None:
        return Decision("no", f"{seen}; dataset version {dataset.version} can't be trained on: {reason}")
    busy = obstacle(session, dataset)
    if busy is not None:
        return Decision("wait", f"{seen}; {busy}")
    left = _cooldown_left(session, spec, last)
    if left > 0:
        assert last is not None
        return Decision("wait", f"{seen}; the cooldown of {spec.trigger.cooldown:g} s after {last.id} is on", left)
    return Decision("start", f"{seen}; {spec.trigger.new_rows} are needed")


def obstacle(session: Session, dataset: DatasetVersion) -> str | None:
    """What must end before this dataset version may start a job; None when nothing stands in the way.

    A version must be judged first, because it may show that its new batches have to be held.
    """
    job = jobs.active(session, dataset.pipeline)
    if job is not None:
        return f"{job.id} is active"
    judged = status.being_judged(session, dataset.pipeline)
    if judged is not None:
        return f"version {judged} is being judged"
    if dataset.pipeline in backlog.waiting(session, routes.HOLD_BATCHES):
        return "batches are being held"
    held = select(DatasetVersionBatch.batch).join(Batch, Batch.id == DatasetVersionBatch.batch)
    held = held.where(
        DatasetVersionBatch.pipeline == dataset.pipeline,
        DatasetVersionBatch.version == dataset.version,
        Batch.state == "held",
    )
    return "a dataset version without its held batches is being built" if session.scalars(held).first() else None


def new_rows(session: Session, dataset: DatasetVersion, last: Job | None) -> int:
    """Accepted rows in batches that some version since the last job's lacks: new ones, and released ones."""
    since = last.dataset_version if last else dataset.version
    earlier = (DatasetVersion.pipeline == dataset.pipeline) & DatasetVersion.state.in_(("sealed", "expired"))
    earlier &= (DatasetVersion.version >= since) & (DatasetVersion.version < dataset.version)
    versions = session.scalars(select(DatasetVersion.version).where(earlier)).all()
    always = (
        select(DatasetVersionBatch.batch)
        .where(DatasetVersionBatch.pipeline == dataset.pipeline, DatasetVersionBatch.version.in_(versions))
        .group_by(DatasetVersionBatch.batch)
        .having(func.count() == len(versions))
    )
    if last is not None and not versions:
        return 0
    rows = select(func.sum(Batch.accepted)).join(DatasetVersionBatch, DatasetVersionBatch.batch == Batch.id)
    return (
        session.scalar(
            rows.where(
                DatasetVersionBatch.pipeline == dataset.pipeline,
                DatasetVersionBatch.version == dataset.version,
                Batch.id.not_in(always),
            )
        )
        or 0
    )


def record(
    session: Session, pipeline: str, version: int, trigger: str, decision: Decision, job: Job | None
) -> TriggerDecision:
    """Appends to the history of decisions."""
    row = TriggerDecision(
        pipeline=pipeline,
        dataset_version=version,
        trigger=trigger,
        decision=decision.decision,
        reason=decision.reason,
        job=job.id if job else None,
        created_at=clock(session),
    )
    session.add(row)
    session.flush()
    TRIGGER_DECISIONS.labels(pipeline, trigger, decision.decision).inc()
    return row


def newest_decision(session: Session, pipeline: str, version: int) -> TriggerDecision | None:
    """What was decided last about a dataset version by its trigger."""
    query = select(TriggerDecision).where(
        TriggerDecision.pipeline == pipeline,
        TriggerDecision.dataset_version == version,
        TriggerDecision.trigger == NEW_ROWS,
    )
    return session.scalars(query.order_by(TriggerDecision.id.desc()).limit(1)).one_or_none()


def _last_job(session: Session, pipeline: str) -> Job | None:
    """The job that was created last to make a version, but for one that had nothing to begin with: rows of its dataset
    version were deleted before it was its turn."""
    expired = select(DatasetVersion.version).where(
        DatasetVersion.pipeline == pipeline, DatasetVersion.state == "expired"
    )
    without_rows = Job.state.in_(("queued", "failed")) & Job.dataset_version.in_(expired)
    query = select(Job).where(Job.pipeline == pipeline, Job.sort == "train", ~without_rows)
    return session.scalars(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1)).one_or_none()


def _cooldown_left(session: Session, spec: PipelineSpec, last: Job | None) -> float:
    if last is None:
        return 0.0
    return spec.trigger.cooldown - (clock(session) - last.created_at).total_seconds()
