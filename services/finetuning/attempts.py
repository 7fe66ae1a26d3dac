"""One attempt at a job in the database: taken by compare-and-set, ended in one transaction, fenced throughout.

Every function raises LeaseLost, having written nothing, when another worker holds the job by now.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.finetuning.revision import code_revision
from shared.modeling.card import ModelCard
from shared.storage import leases
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories import evaluations, jobs, models, queue
from shared.storage.tables import Checkpoint, DeadLetter, Job, ModelVersion, Run


@dataclass(frozen=True)
class Attempt:
    """A job that this worker holds, and its run."""

    lease: Lease
    run: str
    job: Job
    """As it was when taken."""


def take_next(database: Database, job_id: str, owner: str, lease_seconds: float, max_attempts: int) -> Attempt | None:
    """Takes the best queued job of the device kind that `job_id` is for, and begins a run; None when none waits.

    A job that failed is queued again when a person replayed its dead letter, with `max_attempts` more.
    """
    with database.write() as session:
        _revive(session, job_id, max_attempts)
        device = session.scalar(select(Job.device).where(Job.id == job_id))
        while device is not None and (best := queue.best(session, device, job_id)) is not None:
            attempt = _begin(session, best, owner, lease_seconds)
            if attempt is not None:
                return attempt  # else another worker was faster, and the order is another now
        return None


def take(database: Database, job_id: str, owner: str, lease_seconds: float, max_attempts: int) -> Attempt | None:
    """Takes this queued job and begins a run; None when the job is busy, paused, over or unknown."""
    with database.write() as session:
        _revive(session, job_id, max_attempts)
        return _begin(session, job_id, owner, lease_seconds)


def _begin(session: Session, job_id: str, owner: str, lease_seconds: float) -> Attempt | None:
    lease = leases.take(session, Job, job_id, owner, lease_seconds, ("queued",))
    if lease is None:
        return None
    job = jobs.get(session, job_id, lock=True)
    jobs.move(session, job, "running")
    now = clock(session)
    run = Run(
        id=new_id("run"),
        job=job_id,
        attempt=lease.attempt,
        fence=lease.fence,
        state="running",
        owner=owner,
        revision=code_revision(),
        started_at=now,
        heard_at=now,
    )
    session.add(run)
    return Attempt(lease, run.id, job)


@contextmanager
def holding(database: Database, attempt: Attempt) -> Iterator[tuple[Session, Run]]:
    """A write transaction in which the attempt is certainly ours."""
    with database.write() as session:
        leases.guard(session, attempt.lease)
        yield session, session.get_one(Run, attempt.run)


def succeed(
    database: Database,
    attempt: Attempt,
    uri: str,
    card: ModelCard,
    metrics: dict[str, float],
    trial: Job | None = None,
) -> int | None:
    """Records the model version that the run made, or that a `trial` left, and asks for its evaluation.

    Returns the version's number; None when the job was cancelled at the last moment.
    """

    def make_version(session: Session, job: Job) -> str:
        trained_at = (trial or job).created_at
        made = models.add_version(
            session,
            model=job.pipeline,
            kind=card.kind,
            method=card.method,
            base=models.pinned_base(session, job.spec["base"], trained_at),
            base_digest=card.base_digest,
            weights_uri=uri,
            weights_digest=card.weights_digest,
            adapter_digest=card.adapter_digest,
            labels=list(card.labels),
            job=job.id,
            run=trial.outcome["run"] if trial else attempt.run,
            dataset_version=job.dataset_version,
            metrics=metrics,
            conditions=card.conditions,
            started_from=_started_from(session, job, trained_at) if card.started_from else None,
        )
        evaluations.request(session, job.pipeline, made.version)
        job.model_version = made.version
        return f"model version {made.version}"

    job = conclude(database, attempt, make_version)
    return job.model_version if job else None


def _started_from(session: Session, job: Job, trained_at: datetime) -> int | None:
    return models.alias_at(session, job.pipeline, models.CHAMPION, trained_at)


def conclude(database: Database, attempt: Attempt, record: Callable[[Session, Job], str]) -> Job | None:
    """Ends a job that did what it was for, in one transaction with `record`, which returns the reason in words.

    None when the job was cancelled at the last moment; nothing is recorded then.
    """
    with holding(database, attempt) as (session, run):
        job = jobs.get(session, attempt.job.id, lock=True)
        if job.wanted == "cancel":
            _put_down(session, job, run, 0)
            return None
        reason = record(session, job)
        jobs.end_run(session, run, "succeeded")
        _end(session, job, "succeeded", reason)
        _forget_checkpoints(session, job)
        return job


def is_recorded(database: Database, uri: str) -> bool:
    """Whether a model version has its weights there."""
    with database.read() as session:
        return session.scalar(select(ModelVersion.version).where(ModelVersion.weights_uri == uri).limit(1)) is not None


def stop(database: Database, attempt: Attempt, delay_seconds: float = 0) -> str:
    """Ends a run that was asked to stop, or could not begin; the job goes where its owner wants.

    Returns the job's state.
    """
    with holding(database, attempt) as (session, run):
        job = jobs.get(session, attempt.job.id, lock=True)
        _put_down(session, job, run, delay_seconds)
        return job.state


def fail(
    database: Database,
    attempt: Attempt,
    reason: str,
    *,
    final: bool,
    delay_seconds: float | None = None,
    code: str = "",
) -> str:
    """Ends a run that failed; unless that is `final` the job is tried again. Returns the job's state."""
    with holding(database, attempt) as (session, run):
        job = jobs.get(session, attempt.job.id, lock=True)
        jobs.end_run(session, run, "failed", reason)
        session.flush()
        if final and job.wanted != "cancel":
            _end(session, job, "failed", reason, code)
        else:
            jobs.put_back(session, job, reason, delay_seconds, code=code)
        return job.state


def _put_down(session: Session, job: Job, run: Run, delay_seconds: float) -> None:
    jobs.end_run(session, run, "cancelled" if job.wanted == "cancel" else "drained")
    session.flush()
    jobs.put_back(session, job, "its worker stopped", delay_seconds)
    if job.state == "cancelled":
        _forget_checkpoints(session, job)


def _end(session: Session, job: Job, state: str, reason: str, code: str = "") -> None:
    jobs.move(session, job, state, reason, code)
    job.owner = None
    job.lease_expires_at = None


def _forget_checkpoints(session: Session, job: Job) -> None:
    """Their folders go with the job's work folder."""
    for row in session.execute(select(Checkpoint).where(Checkpoint.job == job.id)).scalars():
        session.delete(row)


def _revive(session: Session, job_id: str, max_attempts: int) -> None:
    query = select(Job).where(Job.id == job_id, Job.state == "failed").with_for_update()
    job = session.execute(query).scalar_one_or_none()
    if job is None or not _replayed(session, job):
        return
    job.max_attempts = jobs.failed_runs(session, job.id) + max_attempts
    jobs.move(session, job, "queued", "its dead letter was replayed")
    session.flush()


def _replayed(session: Session, job: Job) -> bool:
    query = select(DeadLetter.id).where(
        DeadLetter.detail["job"].as_string() == job.id, DeadLetter.replayed_at >= job.finished_at
    )
    return session.execute(query.limit(1)).first() is not None
