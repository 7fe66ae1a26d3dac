"""Which of the queued jobs a free worker takes.

By priority, where every hour since a job was made lets it rise by one, though never above the highest that waits, so that
none starves; then whose share of the workers was least lately, tenants first and a tenant's pipelines next; then by age.
Where no keys are configured every pipeline has a share of its own. Messages say only that a job waits: this is the
order, so that one who floods the queue delays nobody but himself.
"""

from collections import defaultdict
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from shared.storage.database import clock
from shared.storage.tables import Job, Run

LATELY = timedelta(hours=1)
AGEING = timedelta(hours=1)
"""After so long a job may be taken like one of the next higher priority."""
START_SECONDS = 1.0
"""The least that a run counts, because starting it costs as well."""


def best(session: Session, device: str, named: str = "") -> str | None:
    """Id of the job that a worker for `device` takes next; None when none waits.

    A job that is tried again later waits for that, unless it is `named`: its own message has come.
    """
    now = clock(session)
    waiting = _waiting(device, named, now)
    query = select(Job.priority, Job.tenant, Job.pipeline, func.min(Job.created_at)).where(waiting)
    groups = session.execute(query.group_by(Job.priority, Job.tenant, Job.pipeline)).all()
    if not groups:
        return None
    top = max(priority for priority, _, _, _ in groups)
    first = [row for row in groups if row[0] + (now - row[3]) // AGEING >= top]
    used = usage(session, device, now)
    priority, tenant, pipeline, _ = min(
        first, key=lambda row: (used[_share(row[1], row[2])], used["", row[2]], row[3], row[2])
    )
    waiting &= Job.priority == priority
    oldest = select(Job.id).where(waiting, Job.tenant == tenant, Job.pipeline == pipeline)
    return session.scalar(oldest.order_by(Job.created_at, Job.id).limit(1))


def usage(session: Session, device: str, now: datetime) -> defaultdict[tuple[str, str], float]:
    """Seconds of workers for `device` in the last hour, by (tenant, "") and by ("", pipeline)."""
    since = now - LATELY
    query = select(Job.tenant, Job.pipeline, Run.started_at, Run.finished_at).join(Job, Job.id == Run.job)
    query = query.where(Job.device == device, or_(Run.finished_at.is_(None), Run.finished_at > since))
    used: defaultdict[tuple[str, str], float] = defaultdict(float)
    for tenant, pipeline, began, ended in session.execute(query):
        spent = max(((ended or now) - max(began, since)).total_seconds(), START_SECONDS)
        for key in {_share(tenant, pipeline), ("", pipeline)}:
            used[key] += spent
    return used


def _share(tenant: str, pipeline: str) -> tuple[str, str]:
    return (tenant, "") if tenant else ("", pipeline)


def _waiting(device: str, named: str, now: datetime) -> ColumnElement[bool]:
    due = or_(Job.due_at.is_(None), Job.due_at <= now, Job.id == named)
    free = or_(Job.lease_expires_at.is_(None), Job.lease_expires_at < now)
    return (Job.state == "queued") & (Job.device == device) & due & free
