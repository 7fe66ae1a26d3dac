"""What queued jobs wait for, in words, and which workers are heard of."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.storage.database import clock
from shared.storage.repositories import jobs
from shared.storage.tables import Job, TrainingWorker

SILENT = timedelta(seconds=20)
"""A worker that says nothing for so long does not count as one."""
DEVICES = {queue: device for device, queue in jobs.QUEUES.items()}
"""What a queue's kind of device is called where people read it."""


def heard(session: Session) -> list[tuple[TrainingWorker, str]]:
    """The workers that were heard of lately, each with the job that it runs now (empty for none)."""
    now = clock(session)
    fresh = select(TrainingWorker).where(TrainingWorker.heard_at > now - SILENT)
    workers = session.scalars(fresh.order_by(TrainingWorker.owner, TrainingWorker.device)).all()
    holds = select(Job.owner, Job.device, func.min(Job.id)).where(Job.state.in_(jobs.HELD))
    held = {(row[0], row[1]): row[2] for row in session.execute(holds.group_by(Job.owner, Job.device))}
    return [(worker, held.get((worker.owner, worker.device), "")) for worker in workers]


def reasons(session: Session, found: Collection[Job]) -> dict[str, str]:
    """Why each of the queued jobs among them can't begin now; those that only wait for their turn are left out."""
    queued = [job for job in found if job.state == "queued"]
    if not queued:
        return {}
    now = clock(session)
    query = select(TrainingWorker.device, func.max(TrainingWorker.heard_at)).group_by(TrainingWorker.device)
    last = {row[0]: row[1] for row in session.execute(query)}
    told = {job.id: _reason(job, last.get(job.device), now) for job in queued}
    return {job: reason for job, reason in told.items() if reason}


def _reason(job: Job, last_heard: datetime | None, now: datetime) -> str:
    if last_heard is None:
        return f"waiting for a {DEVICES[job.device]} worker; none has been heard"
    if last_heard <= now - SILENT:
        return f"waiting for a {DEVICES[job.device]} worker; the last was heard at {last_heard:%Y-%m-%d %H:%M:%S} UTC"
    if job.due_at is not None and job.due_at > now:
        return f"tried again at {job.due_at:%H:%M:%S} UTC"
    return ""
