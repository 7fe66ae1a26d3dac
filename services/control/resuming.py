"""Resuming jobs: paused ones, and those that a larger budget or a declaration lets go on."""

from sqlalchemy.orm import Session

from services.control import audit, training
from services.control.training import JobView
from shared.errors import FailedPrecondition
from shared.storage.repositories import budgets, jobs
from shared.storage.repositories.budgets import Amount
from shared.storage.tables import Job

RESUMABLE = ("BUDGET", "REVISION")
"""Codes of failures that leave a good checkpoint, and that its owner can do something about."""


def resume(session: Session, job_id: str, more: Amount, *, allow_revision: bool, max_attempts: int) -> JobView:
    """Queues a job again where it stood; `more` changes its budget. A failed one gets `max_attempts` more.

    Raises NotFound; FailedPrecondition when the job has ended for good, runs now, or needs a larger budget;
    InvalidArgument for a budget that is used up already.
    """
    job = jobs.get(session, job_id, lock=True)
    if more.given():
        _check_stands_still(job)
        budgets.raise_budget(job, more, budgets.spent(session, [job_id]).get(job_id, Amount()))
    job.allow_revision = job.allow_revision or allow_revision
    if job.state == "failed" and job.code in RESUMABLE:
        _revive(session, job, bool(more.given()), max_attempts)
    else:
        jobs.want(session, job_id, "run")
    audit.record(session, "resume_job", job_id, budget=more.given(), allow_revision=allow_revision)
    return training.view(session, job)


def _check_stands_still(job: Job) -> None:
    """A training process knows the budget that it began with."""
    if job.state in jobs.HELD:
        raise FailedPrecondition(
            f"job {job.id} is {job.state}: pause it first, then resume it with another budget", job=job.id
        )


def _revive(session: Session, job: Job, paid: bool, max_attempts: int) -> None:
    if job.code == "BUDGET" and not paid:
        raise FailedPrecondition(
            f"job {job.id} has used up its budget; resume it with a larger one, such as --budget seconds=3600",
            job=job.id,
        )
    job.wanted = "run"
    job.max_attempts = jobs.failed_runs(session, job.id) + max_attempts
    jobs.queue_again(session, job, "resumed on request")
