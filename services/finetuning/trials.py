"""Jobs of sort `trial`: what they measured is kept, and of a search only the best trial's model, for the version."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from shared.errors import Unavailable
from shared.pipelines.kinds import METRICS
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.tables import Job, Search

TRIAL = "trial"


def keep(
    database: Database, artifacts: Artifacts, attempt: Attempt, folder: Path, uri: str, metrics: Mapping[str, float]
) -> Job | None:
    """Ends a trial; its model `folder` is stored at `uri` while no other trial of the search was better.

    None when it was cancelled at the last moment. Raises LeaseLost, having kept nothing.
    """
    with database.read() as session:
        leads = _leads(session, attempt.job, metrics)
    if leads:
        artifacts.put_folder(folder, uri)
    beaten: list[str] = []

    def record(session: Session, job: Job) -> str:
        if leads:
            beaten.extend(_forget_others(session, job))
        kept = {"metrics": dict(metrics), "uri": uri if leads else "", "run": attempt.run}
        job.outcome = {**job.outcome, **kept}
        return "measured: " + ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())

    done = None
    try:
        done = attempts.conclude(database, attempt, record)
    finally:
        if done is None and leads:
            artifacts.delete(uri)
    _free(artifacts, beaten)
    return done


def left_by(database: Database, job: Job) -> Job | None:
    """The trial that a job makes a version of, where the trial's model is still in the store."""
    if job.search is None or job.sort == TRIAL or job.clone_of is None:
        return None
    with database.read() as session:
        trial = session.get(Job, job.clone_of)
    return trial if trial is not None and trial.outcome.get("uri") else None


def sweep(database: Database, artifacts: Artifacts, trial: Job) -> None:
    """Frees the store of what other trials of the search left."""
    with database.read() as session:
        others = [other.outcome["uri"] for other in _ended(session, trial)]
    _free(artifacts, others)


def _free(artifacts: Artifacts, uris: Sequence[str]) -> None:
    """What can't be removed now stays; nothing hangs on it."""
    for uri in uris:
        with suppress(Unavailable):
            artifacts.delete(uri)


def _leads(session: Session, job: Job, metrics: Mapping[str, float]) -> bool:
    search = session.get_one(Search, job.search)
    metric = search.plan["metric"]
    if metric not in metrics:
        return False
    sign = 1 if METRICS[search.spec["kind"]][metric] == "higher" else -1
    known = [other.outcome["metrics"][metric] for other in _ended(session, job)]
    return all(sign * metrics[metric] > sign * value for value in known)


def _forget_others(session: Session, job: Job) -> list[str]:
    """Takes the models of beaten trials off their records; returns where they lie."""
    found = []
    for other in _ended(session, job):
        found.append(other.outcome["uri"])
        other.outcome = {**other.outcome, "uri": ""}
    return found


def _ended(session: Session, job: Job) -> list[Job]:
    """Other trials of the search whose model is in the store."""
    query = select(Job).where(Job.search == job.search, Job.sort == TRIAL, Job.id != job.id, Job.state == "succeeded")
    return [other for other in session.scalars(query) if _has_model(other.outcome)]


def _has_model(outcome: Mapping[str, Any]) -> bool:
    return bool(outcome.get("uri"))
