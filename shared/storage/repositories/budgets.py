"""What a job may cost, and what it has cost so far, over all its runs."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.errors import InvalidArgument
from shared.storage.tables import Job, Run


@dataclass(frozen=True)
class Amount:
    """None: no limit, or not known."""

    seconds: float | None = None
    """Spent training."""
    steps: int | None = None
    cost: float | None = None
    """Cost units: seconds times the rate of the device kind."""

    def given(self) -> dict[str, Any]:
        """The keys that are set."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def allowed(job: Job) -> Amount:
    """The budget of the job's spec, with what its owner changed since."""
    declared: Mapping[str, float | None] = {**(job.spec.get("budget") or {}), **(job.budget or {})}
    return Amount(**{field.name: declared.get(field.name) for field in fields(Amount)})  # type: ignore[arg-type]


def spent(session: Session, job_ids: Collection[str]) -> dict[str, Amount]:
    """By job; nothing for one that never ran."""
    query = select(Run.job, func.max(Run.seconds), func.max(Run.step), func.max(Run.cost))
    rows = session.execute(query.where(Run.job.in_(job_ids)).group_by(Run.job))
    return {job: Amount(seconds, steps, cost) for job, seconds, steps, cost in rows}


def raise_budget(job: Job, more: Amount, already: Amount) -> None:
    """Changes keys of a job's budget. Raises InvalidArgument for one that is used up already."""
    used = already.given()
    for key, value in more.given().items():
        if value <= used.get(key, 0.0):
            raise InvalidArgument(
                f"budget.{key}: {value:g} is used up already: job {job.id} has spent {used.get(key, 0.0):g}; give more",
                field=f"budget.{key}",
            )
    job.budget = {**(job.budget or {}), **more.given()}
    for key, value in allowed(job).given().items():
        if job.code == "BUDGET" and used.get(key, 0.0) >= value:
            raise InvalidArgument(
                f"budget.{key}: job {job.id} has spent {used[key]:g} of {value:g}; give more of that as well",
                field=f"budget.{key}",
            )
