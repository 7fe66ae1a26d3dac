"""Finds what should be on its way and is not, and puts its message in the outbox again.

The outbox makes this rare: it takes a worker that died, or rows lost from the outbox itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session

from services.control import backlog, triggers
from services.control.leadership import Leadership, Term
from shared.contracts import messages, routes
from shared.errors import FlywheelError, LeaseLost
from shared.storage import outbox
from shared.storage.database import Database, clock
from shared.storage.repositories import evaluations, jobs
from shared.storage.tables import (
    Batch,
    DatasetVersion,
    Evaluation,
    Job,
    ModelVersion,
    Pipeline,
    Report,
    TriggerDecision,
)
from shared.telemetry.logs import get_logger

AT_ONCE = 100
SETTLE_SECONDS = 30.0
"""A batch is left alone for so long after its last change."""
log = get_logger(__name__)


@dataclass(frozen=True)
class Repair:
    """`find` looks, in a transaction that only reads; `mend` repairs what it found."""

    name: str
    find: Callable[[Session], Sequence[Any]]
    mend: Callable[[Session, Sequence[Any]], object]


class Sweeper:
    """Runs every repair; one that fails leaves the others alone."""

    def __init__(self, database: Database, leadership: Leadership, max_attempts: int) -> None:
        self._database = database
        self._leadership = leadership
        self._repairs = (*REPAIRS, _lost_evaluations(max_attempts))

    def sweep(self, term: Term) -> int:
        """Repairs what it finds and returns how many things. Raises LeaseLost when another process leads."""
        return sum(self._run(repair, term) for repair in self._repairs)

    def _run(self, repair: Repair, term: Term) -> int:
        try:
            with self._database.read() as session:
                if not repair.find(session):
                    return 0
            with self._database.write() as session:
                self._leadership.guard(session, term)
                found = repair.find(session)
                repair.mend(session, found)
        except LeaseLost:
            raise
        except FlywheelError as error:
            log.warning("a repair failed", repair=repair.name, error=error.message)
            return 0
        log.info("repaired", repair=repair.name, count=len(found))
        return len(found)


def _expired_jobs(session: Session) -> list[str]:
    held = select(Job.id).where(Job.state.in_(jobs.HELD), Job.lease_expires_at < clock(session))
    return list(session.scalars(held.limit(AT_ONCE)))


def _expired_evaluations(session: Session) -> list[str]:
    held = select(Evaluation.id).where(Evaluation.state == "running", Evaluation.lease_expires_at < clock(session))
    return list(session.scalars(held.limit(AT_ONCE)))


def _lost_evaluations(max_attempts: int) -> Repair:
    return Repair(
        "evaluation of a silent worker",
        _expired_evaluations,
        lambda session, found: evaluations.reclaim_lost(session, max_attempts),
    )


def _undecided(session: Session) -> list[tuple[str, int]]:
    """Sealed dataset versions without a decision."""
    decided = exists().where(
        TriggerDecision.pipeline == DatasetVersion.pipeline,
        TriggerDecision.dataset_version == DatasetVersion.version,
        TriggerDecision.trigger == triggers.NEW_ROWS,
    )
    query = select(DatasetVersion.pipeline, DatasetVersion.version).join(
        Pipeline, Pipeline.name == DatasetVersion.pipeline
    )
    query = query.where(DatasetVersion.state == "sealed", ~decided).limit(AT_ONCE)
    return _unknown(session, routes.CONSIDER_DATASET_VERSION, [(row[0], row[1]) for row in session.execute(query)])


def _waiting(session: Session) -> list[tuple[str, int]]:
    """Newest dataset versions that were told to wait, with nothing left to wait for."""
    newest = select(DatasetVersion.pipeline, func.max(DatasetVersion.version).label("version"))
    newest = newest.where(DatasetVersion.state == "sealed").group_by(DatasetVersion.pipeline)
    table = newest.subquery()
    query = select(DatasetVersion).join(
        table, and_(DatasetVersion.pipeline == table.c.pipeline, DatasetVersion.version == table.c.version)
    )
    found = []
    for dataset in session.scalars(query):
        last = triggers.newest_decision(session, dataset.pipeline, dataset.version)
        if last is not None and last.decision == "wait" and triggers.obstacle(session, dataset) is None:
            found.append((dataset.pipeline, dataset.version))
    return _unknown(session, routes.CONSIDER_DATASET_VERSION, found)


def _queued_jobs(session: Session) -> list[str]:
    """Queued jobs that too few messages are on their way for.

    A worker runs the best job, not the one that its message names, so messages are counted: one for each job that
    waits, and one for each that is being run, whose message is not done yet.
    """
    found = []
    for device in routes.RUN_JOB.devices:
        active = session.execute(
            select(Job.id, Job.state).where(Job.device == device, Job.state.in_(("queued", *jobs.HELD)))
        ).all()
        given_up = backlog.dead(session, routes.RUN_JOB) if active else set()
        queued = sorted(row[0] for row in active if row[1] == "queued" and row[0] not in given_up)
        held = sum(row[1] in jobs.HELD for row in active)
        missing = len(queued) + held - backlog.unfinished(session, routes.RUN_JOB.queue_for(device))
        found += queued[: max(0, min(missing, AT_ONCE))]
    return found


def _unjudged(session: Session) -> list[tuple[str, int]]:
    """Versions in `trained` that nobody asked to judge, or whose request is lost."""
    query = select(ModelVersion.model, ModelVersion.version)
    query = query.outerjoin(
        Evaluation, and_(Evaluation.model == ModelVersion.model, Evaluation.version == ModelVersion.version)
    )
    query = query.where(
        ModelVersion.state == "trained", Evaluation.state.is_(None) | (Evaluation.state == "queued")
    ).limit(AT_ONCE)
    return _unknown(session, routes.EVALUATE_MODEL_VERSION, [(row[0], row[1]) for row in session.execute(query)])


def _unconsidered(session: Session) -> list[str]:
    query = select(Report.id).join(Pipeline, Pipeline.name == Report.model).where(Report.considered_at.is_(None))
    return _unknown(session, routes.CONSIDER_VERDICT, session.scalars(query.limit(AT_ONCE)).all())


def _unsealed(session: Session) -> list[str]:
    """Pipelines with accepted rows that no dataset version holds after a while."""
    settled = clock(session) - timedelta(seconds=SETTLE_SECONDS)
    query = select(Batch.pipeline).join(Pipeline, Pipeline.name == Batch.pipeline)
    query = query.where(
        Pipeline.deleted_at.is_(None),
        Batch.state == "accepted",
        Batch.dataset_version.is_(None),
        Batch.accepted > 0,
        Batch.updated_at < settled,
    )
    return _unknown(session, routes.BUILD_DATASET_VERSION, session.scalars(query.distinct().limit(AT_ONCE)).all())


def _unknown(session: Session, route: routes.Route, keys: Sequence[Any]) -> list[Any]:
    if not keys:
        return []
    known = backlog.known(session, route)
    return [key for key in keys if key not in known]


def _consider(session: Session, found: Sequence[tuple[str, int]]) -> None:
    for pipeline, version in found:
        message = messages.ConsiderDatasetVersion(pipeline=pipeline, version=version)
        outbox.put(session, routes.CONSIDER_DATASET_VERSION, message)


def _run_jobs(session: Session, found: Sequence[str]) -> None:
    for id in found:
        outbox.put(session, routes.RUN_JOB, messages.RunJob(job=id), device=jobs.get(session, id).device)


def _judge(session: Session, found: Sequence[tuple[str, int]]) -> None:
    for model, version in found:
        if evaluations.find(session, model, version) is None:
            evaluations.request(session, model, version)
        else:
            message = messages.EvaluateModelVersion(model=model, version=version)
            outbox.put(session, routes.EVALUATE_MODEL_VERSION, message)


def _consider_verdicts(session: Session, found: Sequence[str]) -> None:
    for id in found:
        outbox.put(session, routes.CONSIDER_VERDICT, messages.ConsiderVerdict(report=id))


def _build(session: Session, found: Sequence[str]) -> None:
    for pipeline in found:
        outbox.put(session, routes.BUILD_DATASET_VERSION, messages.BuildDatasetVersion(pipeline=pipeline))


REPAIRS = (
    Repair("job of a silent worker", _expired_jobs, lambda session, found: jobs.reclaim_lost(session)),
    Repair("dataset version without a decision", _undecided, _consider),
    Repair("dataset version that waits for nothing", _waiting, _consider),
    Repair("queued job without a message", _queued_jobs, _run_jobs),
    Repair("version that nobody judges", _unjudged, _judge),
    Repair("report without a consequence", _unconsidered, _consider_verdicts),
    Repair("rows in no dataset version", _unsealed, _build),
)
