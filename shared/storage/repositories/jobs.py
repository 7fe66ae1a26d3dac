"""Jobs: creating, moving, steering and taking back what a dead worker held.

Control creates and steers them, finetuning runs them; both go through here, so that a change of state, its event
and the message that follows from it are one transaction.
"""

from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts.codec import encode
from shared.contracts.messages import RunJob
from shared.contracts.routes import RUN_JOB
from shared.errors import FailedPrecondition, NotFound
from shared.storage import outbox
from shared.storage.database import clock
from shared.storage.ids import new_id
from shared.storage.states import JOB_ENDED, JOB_STATES, RUN_STATES, check_transition
from shared.storage.tables import DeadLetter, Job, JobEvent, Pipeline, Run

Wanted = Literal["run", "pause", "cancel"]
ACTIVE = ("queued", "running", "pausing")
HELD = ("running", "pausing")
COUNTED_RUNS = ("failed", "lost")
"""Runs that use up an attempt; a drained or paused one does not."""
QUEUES = {"cpu": "cpu", "cuda": "gpu"}
"""The queue of each device that a pipeline may ask for."""
RETRY_DELAYS = (0.0, 5.0, 30.0)
"""Seconds before an attempt after the first, second, … failure: a killed process is continued at once."""


def create(
    session: Session,
    *,
    pipeline: str,
    dataset_version: int,
    spec: dict[str, Any],
    trigger: str,
    device: str = "cpu",
    max_attempts: int,
    idempotency_key: str | None = None,
    **about: Any,
) -> Job:
    """Queues a job and its message. A key seen before gives the job that it made.

    `device` is where pipelines run that leave it open. `about` are columns that few jobs have: `sort`, `clone_of`,
    `verifies`, `search`, `trial`, and `priority` where it is not the pipeline's.

    Raises InvalidArgument for a device without a queue.
    """
    if found := _by_key(session, idempotency_key):
        return found
    device = QUEUES.get((spec.get("resources") or {}).get("device", "auto"), device)
    declared = session.get(Pipeline, pipeline)
    about.setdefault("priority", (spec.get("trigger") or {}).get("priority", 0))
    job = Job(
        id=new_id("job"),
        pipeline=pipeline,
        dataset_version=dataset_version,
        spec=spec,
        device=device,
        state="queued",
        max_attempts=max_attempts,
        trigger=trigger,
        tenant=declared.tenant if declared else "",
        idempotency_key=idempotency_key,
        created_at=clock(session),
        **about,
    )
    try:
        with session.begin_nested():
            session.add(job)
    except IntegrityError:
        found = _by_key(session, idempotency_key)
        assert found is not None, "only the key is unique"
        return found
    append_event(session, job.id, "state", {"state": "queued", "reason": trigger, "attempt": 0})
    outbox.put(session, RUN_JOB, RunJob(job=job.id), device=device)
    return job


def get(session: Session, job_id: str, *, lock: bool = False) -> Job:
    """The job; with `lock` nobody else changes it until the commit. Raises NotFound."""
    query = select(Job).where(Job.id == job_id).execution_options(populate_existing=lock)
    job = session.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    if job is None:
        raise NotFound(f"no job {job_id!r}", job=job_id)
    return job


def active(session: Session, pipeline: str) -> Job | None:
    """The pipeline's newest job that is queued, running or pausing and will make a version."""
    query = select(Job).where(Job.pipeline == pipeline, Job.sort == "train", Job.state.in_(ACTIVE))
    return session.execute(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1)).scalar_one_or_none()


def move(session: Session, job: Job, to: str, reason: str = "", code: str = "") -> None:
    """Changes the state and appends its event; `code` is a stable word for a failure. Raises IllegalTransition."""
    check_transition(JOB_STATES, f"job {job.id}", job.state, to)
    now = clock(session)
    job.state = to
    job.reason, job.code, job.due_at = reason, code, None
    if to == "running" and job.started_at is None:
        job.started_at = now
    job.finished_at = now if to in JOB_ENDED else None
    detail = {"state": to, "reason": reason, "attempt": job.attempt}
    append_event(session, job.id, "state", {**detail, "code": code} if code else detail)


def want(session: Session, job_id: str, wanted: Wanted) -> Job:
    """Writes down what the owner of a job wants.

    A job that nobody runs obeys at once; a running one when its supervisor looks. Asking twice changes nothing.
    Raises NotFound, and FailedPrecondition when the job has ended or is being cancelled.
    """
    job = get(session, job_id, lock=True)
    if wanted == "cancel" and job.state == "cancelled":
        return job
    if job.state in JOB_ENDED:
        made = f", it made version {job.model_version}" if job.model_version else ""
        raise FailedPrecondition(f"job {job_id} has ended: {job.state}{made}", job=job_id, state=job.state)
    if job.wanted == "cancel" and wanted != "cancel":
        raise FailedPrecondition(f"job {job_id} is being cancelled", job=job_id, state=job.state)
    job.wanted = wanted
    if wanted == "cancel" and job.state in ("queued", "paused"):
        move(session, job, "cancelled", "cancelled on request")
    elif wanted == "pause" and job.state == "queued":
        move(session, job, "paused", "paused on request")
    elif wanted == "pause" and job.state == "running":
        move(session, job, "pausing", "paused on request")
    elif wanted == "run" and job.state == "paused":
        queue_again(session, job, "resumed on request")
    return job


def queue_again(session: Session, job: Job, reason: str, code: str = "", delay_seconds: float = 0) -> None:
    """Queues a job that nobody holds, with its message, both due after `delay_seconds`. Raises IllegalTransition."""
    move(session, job, "queued", reason, code)
    if delay_seconds > 0:
        job.due_at = clock(session) + timedelta(seconds=delay_seconds)
    outbox.put(session, RUN_JOB, RunJob(job=job.id), device=job.device, delay_seconds=delay_seconds)


def end_run(session: Session, run: Run, state: str, error: str = "") -> None:
    """Ends one attempt. Raises IllegalTransition when it has ended already."""
    check_transition(RUN_STATES, f"run {run.id}", run.state, state)
    run.state = state
    run.error = error
    run.eta_seconds = run.estimated_finish_at = None
    run.finished_at = clock(session)


def put_back(session: Session, job: Job, reason: str, delay_seconds: float | None = None, *, code: str = "") -> None:
    """After a run without a result: the job is cancelled, paused or queued again, as its owner wants.

    It fails, with a dead letter, when its attempts are used up. The run is ended before; the lease is given up here.
    Waits `delay_seconds`, or longer with each failure, before the next attempt.
    """
    job.owner = None
    job.lease_expires_at = None
    failures = failed_runs(session, job.id)
    if job.wanted == "cancel":
        move(session, job, "cancelled", "cancelled on request")
    elif job.wanted == "pause" and job.state == "pausing":
        move(session, job, "paused", "paused on request")
    elif failures >= job.max_attempts:
        fail(session, job, f"{failures} attempts failed; the last: {reason}", failures, code=code)
    else:
        if delay_seconds is None:
            delay_seconds = RETRY_DELAYS[min(max(failures, 1), len(RETRY_DELAYS)) - 1]
        queue_again(session, job, reason, code, delay_seconds)


def fail(session: Session, job: Job, reason: str, attempts: int, *, code: str = "") -> None:
    """Gives a job up and keeps its message as a dead letter for a person."""
    job.owner = None
    job.lease_expires_at = None
    move(session, job, "failed", reason, code)
    now = clock(session)
    id = new_id("dead")
    session.add(
        DeadLetter(
            id=id,
            queue=RUN_JOB.queue_for(job.device),
            task=RUN_JOB.task,
            type_name=RUN_JOB.type_name,
            payload=encode(RUN_JOB, RunJob(job=job.id), id, now),
            error=reason,
            attempts=attempts,
            detail={"job": job.id, "pipeline": job.pipeline},
            created_at=now,
        )
    )


def failed_runs(session: Session, job_id: str) -> int:
    """Attempts used up so far."""
    query = select(func.count()).select_from(Run).where(Run.job == job_id, Run.state.in_(COUNTED_RUNS))
    return session.execute(query).scalar_one()


def reclaim_lost(session: Session) -> list[str]:
    """Takes back the jobs whose worker's lease has run out; its run is lost. Returns their ids."""
    expired = select(Job).where(Job.state.in_(HELD), Job.lease_expires_at < clock(session))
    locked = expired.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    lost = list(session.execute(locked).scalars())
    for job in lost:
        reason = f"worker {job.owner} lost its lease"
        for run in session.execute(select(Run).where(Run.job == job.id, Run.state == "running")).scalars():
            end_run(session, run, "lost", reason)
        put_back(session, job, reason, code="LOST")
    return [job.id for job in lost]


def append_event(session: Session, job_id: str, kind: str, detail: dict[str, Any]) -> int:
    """Adds to the job's history and returns the sequence number, which rises by one from 1.

    Locks the job until the commit, so that two writers never get the same number.
    """
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    newest = select(func.max(JobEvent.sequence)).where(JobEvent.job == job_id)
    sequence = (session.execute(newest).scalar_one() or 0) + 1
    session.add(JobEvent(job=job_id, sequence=sequence, kind=kind, detail=detail, created_at=clock(session)))
    session.flush()
    return sequence


def events_after(session: Session, job_id: str, sequence: int, limit: int | None = None) -> list[JobEvent]:
    """The job's events with a higher sequence number, in order; at most `limit`."""
    query = select(JobEvent).where(JobEvent.job == job_id, JobEvent.sequence > sequence)
    return list(session.execute(query.order_by(JobEvent.sequence).limit(limit)).scalars())


def _by_key(session: Session, idempotency_key: str | None) -> Job | None:
    if idempotency_key is None:
        return None
    return session.execute(select(Job).where(Job.idempotency_key == idempotency_key)).scalar_one_or_none()
