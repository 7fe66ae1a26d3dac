"""How pipelines and the fleet stand now, from the database alone."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.pipelines.schema import PipelineSpec
from shared.storage.database import clock
from shared.storage.repositories import datasets, jobs, models
from shared.storage.tables import (
    Batch,
    DatasetVersion,
    DeadLetter,
    Evaluation,
    Job,
    Leader,
    ModelVersion,
    Pipeline,
    Report,
    Search,
)


@dataclass(frozen=True)
class PipelineStatus:
    """`champion`, `candidate` and `dataset_version` are 0 when there is none."""

    name: str
    kind: str
    champion: int
    candidate: int
    rows: int
    dataset_version: int
    state: str
    held_batches: int


def of_pipelines(session: Session) -> list[PipelineStatus]:
    """How each pipeline that is not deleted stands, by name."""
    query = select(Pipeline).where(Pipeline.deleted_at.is_(None)).order_by(Pipeline.name)
    return [_of_pipeline(session, row.name, PipelineSpec.model_validate(row.spec)) for row in session.scalars(query)]


def dead_letters(session: Session) -> int:
    """Messages that were given up and not replayed."""
    return session.scalar(select(func.count()).where(DeadLetter.replayed_at.is_(None))) or 0


def leader(session: Session, role: str) -> str:
    """Who leads now; empty when nobody does."""
    query = select(Leader.owner).where(Leader.role == role, Leader.expires_at > clock(session))
    return session.scalar(query) or ""


def newest_job(session: Session, pipeline: str) -> Job | None:
    """The job that was created last to make a version."""
    query = select(Job).where(Job.pipeline == pipeline, Job.sort == "train")
    return session.scalars(query.order_by(Job.created_at.desc(), Job.id.desc()).limit(1)).one_or_none()


def being_judged(session: Session, model: str) -> int | None:
    """The oldest version whose verdict is still to come, or still to be considered; None when there is none.

    A version whose evaluation failed for good does not count: nothing will follow by itself.
    """
    given_up = select(Evaluation.version).where(Evaluation.model == model, Evaluation.state == "failed")
    waiting = select(ModelVersion.version).where(
        ModelVersion.model == model,
        ModelVersion.state.in_(("trained", "evaluated")),
        ModelVersion.version.not_in(given_up),
    )
    reported = select(Report.version).where(Report.model == model, Report.considered_at.is_(None))
    return min(session.scalars(waiting.union(reported)), default=None)


def _of_pipeline(session: Session, name: str, spec: PipelineSpec) -> PipelineStatus:
    aliases, dataset = models.aliases(session, name), datasets.newest_sealed(session, name)
    held = select(func.count()).select_from(Batch).where(Batch.pipeline == name, Batch.state == "held")
    return PipelineStatus(
        name=name,
        kind=spec.kind,
        champion=aliases.get(models.CHAMPION, 0),
        candidate=aliases.get(models.CANDIDATE, 0),
        rows=dataset.train + dataset.validation + dataset.test if dataset else 0,
        dataset_version=dataset.version if dataset else 0,
        state=_state(session, name, dataset),
        held_batches=session.scalar(held) or 0,
    )


def _state(session: Session, name: str, dataset: DatasetVersion | None) -> str:
    job = jobs.active(session, name)
    if job is not None:
        return "queued" if job.state == "queued" else "training"
    unconsidered = select(Report.verdict).where(Report.model == name, Report.considered_at.is_(None))
    if session.scalars(unconsidered).first() == "pass":
        return "promoting"
    if being_judged(session, name) is not None:
        return "evaluating"
    if _is_building(session, name):
        return "building"
    if dataset is None:
        return "waiting for data"
    if session.scalars(select(Search.id).where(Search.pipeline == name, Search.state == "running")).first() is not None:
        return "searching"
    return "failed" if _has_failed(session, name) else "idle"


def _has_failed(session: Session, name: str) -> bool:
    """Whether the newest job, or the judging of what it made, was given up."""
    last = newest_job(session, name)
    if last is None:
        return False
    given_up = select(Evaluation.id).where(
        Evaluation.model == name, Evaluation.version == last.model_version, Evaluation.state == "failed"
    )
    return last.state == "failed" or session.scalars(given_up).first() is not None


def _is_building(session: Session, name: str) -> bool:
    versions = select(DatasetVersion.version).where(
        DatasetVersion.pipeline == name, DatasetVersion.state.in_(("received", "validating"))
    )
    batches = select(Batch.id).where(
        Batch.pipeline == name,
        Batch.dataset_version.is_(None),
        (Batch.state == "received") | ((Batch.state == "accepted") & (Batch.accepted > 0)),
    )
    return session.scalars(versions).first() is not None or session.scalars(batches).first() is not None
