"""What the leader exports about the whole fleet, read from the database and the broker."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.control.leadership import Term
from shared.config import Settings
from shared.messaging import broker
from shared.storage.database import Database, clock
from shared.storage.repositories import datasets, models, pipelines, status
from shared.storage.states import JOB_STATES
from shared.storage.tables import AliasMove, Job, OutboxMessage
from shared.telemetry import metrics

GAUGES = (
    metrics.QUEUE_DEPTH,
    metrics.QUEUE_OLDEST_AGE_SECONDS,
    metrics.TRAINING_RUNS,
    metrics.DATASET_VERSION_ROWS,
    metrics.DATASET_FRESHNESS_SECONDS,
    metrics.EVALUATION_METRIC,
    metrics.CHAMPION_VERSION,
    metrics.CHAMPION_AGE_SECONDS,
)


class FleetMetrics:
    """Sets the gauges of the fleet; a process that does not lead exports none of them."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._pipelines: set[str] = set()

    def export_database(self, term: Term) -> None:
        with self._database.read() as session:
            self._forget_deleted(set(pipelines.names(session)))
            metrics.DEAD_LETTERS.set(status.dead_letters(session))
            metrics.OUTBOX_LAG_SECONDS.set(outbox_lag(session))
            for name in self._pipelines:
                _export_jobs(session, name)
                _export_dataset(session, name)
                _export_judgement(session, name)
                _export_champion(session, name)

    def export_queues(self, term: Term) -> None:
        for queue, stats in broker.queue_stats(self._settings).items():
            metrics.QUEUE_DEPTH.labels(queue).set(stats.depth)
            metrics.QUEUE_OLDEST_AGE_SECONDS.labels(queue).set(stats.oldest_age_seconds)

    def _forget_deleted(self, present: set[str]) -> None:
        if self._pipelines - present:
            self.clear()
        self._pipelines = present

    def clear(self) -> None:
        """Stops exporting: two processes with different ideas of one number would mislead."""
        for gauge in GAUGES:
            gauge.clear()
        for single in (metrics.DEAD_LETTERS, metrics.OUTBOX_LAG_SECONDS):
            single.set(float("nan"))


def outbox_lag(session: Session) -> float:
    """Seconds that the oldest due message is overdue; 0 when none is."""
    oldest = session.scalar(select(func.min(OutboxMessage.due_at)).where(OutboxMessage.done_at.is_(None)))
    return max(0.0, (clock(session) - oldest).total_seconds()) if oldest else 0.0


def _export_jobs(session: Session, name: str) -> None:
    query = select(Job.state, func.count()).where(Job.pipeline == name).group_by(Job.state)
    counts = {row[0]: row[1] for row in session.execute(query)}
    for state in JOB_STATES:
        metrics.TRAINING_RUNS.labels(name, state).set(counts.get(state, 0))


def _export_dataset(session: Session, name: str) -> None:
    dataset = datasets.newest_sealed(session, name)
    if dataset is None:
        return
    for split, rows in {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}.items():
        metrics.DATASET_VERSION_ROWS.labels(name, split).set(rows)
    if dataset.sealed_at is not None:
        age = (clock(session) - dataset.sealed_at).total_seconds()
        metrics.DATASET_FRESHNESS_SECONDS.labels(name).set(age)


def _export_judgement(session: Session, name: str) -> None:
    report = models.newest_report(session, name)
    if report is None:
        return
    scores: dict[str, Mapping[str, float]] = {
        "candidate": report.metrics,
        "champion": report.champion_metrics,
        "base": report.base_metrics,
    }
    for role, values in scores.items():
        for metric, value in values.items():
            metrics.EVALUATION_METRIC.labels(name, metric, role).set(value)


def _export_champion(session: Session, name: str) -> None:
    version = models.alias(session, name, models.CHAMPION)
    if version is None:
        return
    metrics.CHAMPION_VERSION.labels(name).set(version)
    moved = select(func.max(AliasMove.created_at)).where(AliasMove.model == name, AliasMove.alias == models.CHAMPION)
    since = session.scalar(moved)
    assert since is not None, "an alias is only ever moved with its history"
    metrics.CHAMPION_AGE_SECONDS.labels(name).set((clock(session) - since).total_seconds())
