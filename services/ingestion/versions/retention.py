"""Old dataset versions expire: their figures stay, their rows can't be read, and files that only they named go."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.ingestion.storing.sweeping import Sweeper
from services.ingestion.versions.planning import move
from shared.pipelines.retention import Retention
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.datasets import read_manifest
from shared.storage.repositories import datasets, jobs, models, pipelines
from shared.storage.tables import AuditEntry, DatasetVersion, Evaluation, Job, ModelVersion, Report, Search
from shared.telemetry.logs import get_logger

ACTOR = "retention"
log = get_logger(__name__)


class Keeper:
    """Lets versions expire as pipelines say. Doing it twice, or in two processes at once, changes nothing."""

    def __init__(self, database: Database, artifacts: Artifacts, sweeper: Sweeper) -> None:
        self._database, self._artifacts, self._sweeper = database, artifacts, sweeper

    def apply_all(self) -> None:
        """For every pipeline that has not been deleted."""
        with self._database.read() as session:
            names = pipelines.names(session)
        for name in names:
            self.apply(name)

    def apply(self, pipeline: str) -> list[int]:
        """Returns the versions that expired now."""
        with self._database.read() as session:
            wanted = _wanted(session, pipeline)
            if not wanted or not _due(session, pipeline, wanted):
                return []
        with self._database.write() as session:
            pipelines.lock(session, pipeline)
            wanted = _wanted(session, pipeline)
            due = _due(session, pipeline, wanted) if wanted else []
            for version, reason in due:
                expire(session, version, reason, ACTOR)
        uris = {part.uri for version, _ in due for part in read_manifest(self._artifacts, version.manifest_uri).parts}
        removed = self._sweeper.remove(pipeline, uris)
        if due:
            numbers = [version.version for version, _ in due]
            log.info("dataset versions expired", pipeline=pipeline, versions=numbers, files_removed=len(removed))
        return [version.version for version, _ in due]


def expire(session: Session, version: DatasetVersion, reason: str, actor: str) -> None:
    """Nothing of the version can be read from here on. Hold the pipeline's lock."""
    move(version, "expired", reason)
    detail = {"version": version.version, "reason": reason}
    entry = AuditEntry(
        actor=actor, action="expire_dataset_version", target=version.pipeline, detail=detail, created_at=clock(session)
    )
    session.add(entry)


def needed(session: Session, pipeline: str) -> set[int]:
    """Versions that the champion or the candidate was trained or judged on, and those that work under way needs."""
    aliased = list(models.aliases(session, pipeline).values())
    judging = select(Evaluation.version).where(
        Evaluation.model == pipeline, Evaluation.state.in_(("queued", "running"))
    )
    unjudged = ModelVersion.state.in_(("trained", "evaluated"))
    trained = select(ModelVersion.dataset_version).where(
        ModelVersion.model == pipeline,
        ModelVersion.version.in_(aliased) | ModelVersion.version.in_(judging) | unjudged,
    )
    judged = select(Report.dataset_version).where(Report.model == pipeline, Report.version.in_(aliased))
    working = select(Job.dataset_version).where(Job.pipeline == pipeline, Job.state.in_((*jobs.ACTIVE, "paused")))
    searched = select(Search.dataset_version).where(Search.pipeline == pipeline, Search.state == "running")
    return {number for query in (trained, judged, working, searched) for number in session.scalars(query)}


def _wanted(session: Session, pipeline: str) -> Retention | None:
    found = pipelines.get(session, pipeline, deleted=True)
    return PipelineSpec.model_validate(found.spec).data.retention


def _due(session: Session, pipeline: str, wanted: Retention) -> list[tuple[DatasetVersion, str]]:
    now, kept = clock(session), needed(session, pipeline)
    older = datasets.sealed(session, pipeline)[1:]
    found = [(row, _reason(row, place, now, wanted)) for place, row in enumerate(older, start=1)]
    return [(row, reason) for row, reason in found if reason and row.version not in kept]


def _reason(version: DatasetVersion, newer: int, now: datetime, wanted: Retention) -> str:
    """Why a version that so many newer ones follow expires; empty while it stays."""
    if wanted.versions is not None and newer >= wanted.versions:
        return f"retention: {newer} newer versions; {wanted.versions} stay readable"
    if wanted.days is not None and version.sealed_at and now - version.sealed_at > timedelta(days=wanted.days):
        return f"retention: sealed more than {wanted.days:g} days ago"
    return ""
