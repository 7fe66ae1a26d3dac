"""The trials of a search as the database shows them: what they tried, what they measured, how they stand."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.pipelines.kinds import METRICS
from shared.pipelines.searching import State
from shared.storage.states import JOB_ENDED
from shared.storage.tables import Job, JobEvent, Search

TRIAL = "trial"


@dataclass(frozen=True)
class Trial:
    """One try: its job, what it tried, the metric at each validation and in the end."""

    number: int
    job: Job
    state: State
    params: dict[str, Any]
    reports: tuple[float, ...]
    value: float | None


@dataclass(frozen=True)
class SearchView:
    """A search, its trials by number, and the job that makes the best one a version."""

    search: Search
    trials: tuple[Trial, ...]
    job: Job | None

    @property
    def best(self) -> Trial | None:
        return next((trial for trial in self.trials if trial.job.id == self.search.best), None)


def view(session: Session, search: Search) -> SearchView:
    """The search with its trials."""
    rows = session.scalars(select(Job).where(Job.search == search.id, Job.sort == TRIAL).order_by(Job.trial)).all()
    reports = _reports(session, search)
    trials = tuple(_trial(search, row, reports.get(row.id, ())) for row in rows)
    return SearchView(search, trials, session.get(Job, search.job) if search.job else None)


def best(kind: str, metric: str, trials: Sequence[Trial]) -> Trial | None:
    """The best of the complete trials, of equals the first; None when there is none."""
    found: Trial | None = None
    for trial in trials:
        if trial.state == "complete" and (found is None or _better(kind, metric, trial, found)):
            found = trial
    return found


def _better(kind: str, metric: str, one: Trial, other: Trial) -> bool:
    assert one.value is not None
    assert other.value is not None
    return one.value > other.value if METRICS[kind][metric] == "higher" else one.value < other.value


def _trial(search: Search, job: Job, reports: tuple[float, ...]) -> Trial:
    assert job.trial is not None
    params: dict[str, Any] = job.outcome["params"]
    pruned = search.pruned.get(str(job.trial))
    if pruned is not None:
        return Trial(job.trial, job, "pruned", params, reports[:pruned], None)
    value = job.outcome.get("metrics", {}).get(search.plan["metric"])
    return Trial(job.trial, job, _state(job, value), params, reports, value)


def _state(job: Job, value: float | None) -> State:
    if job.state == "succeeded":
        return "complete" if value is not None and math.isfinite(value) else "failed"
    if job.state in JOB_ENDED:
        return "failed"
    return "waiting" if job.attempt == 0 else "running"


def _reports(session: Session, search: Search) -> Mapping[str, tuple[float, ...]]:
    """The metric at each validation, by job; a step that was validated again after a crash counts once."""
    query = select(JobEvent.job, JobEvent.detail).join(Job, Job.id == JobEvent.job)
    query = query.where(Job.search == search.id, Job.sort == TRIAL, JobEvent.kind == "validation")
    found: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for job, detail in session.execute(query.order_by(JobEvent.job, JobEvent.sequence)):
        value = detail.get("metrics", {}).get(search.plan["metric"])
        if isinstance(value, int | float) and math.isfinite(value):
            found[job].setdefault(int(detail["step"]), float(value))
    return {job: tuple(by_step[step] for step in sorted(by_step)) for job, by_step in found.items()}
