"""Rows and views to protobuf messages of the Control service."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.control import promotion
from services.control.catalogue import ModelView, VersionView
from services.control.operations import FleetStatus
from services.control.training import JobView, Order
from services.control.trials import SearchView, Trial
from services.control.waiting import DEVICES
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.errors import InvalidArgument
from shared.storage import tables
from shared.storage.repositories.budgets import Amount, allowed
from shared.storage.repositories.lineage import Lineage


def pipeline(row: tables.Pipeline, *, unchanged: bool = False) -> pb.Pipeline:
    return pb.Pipeline(
        name=row.name,
        revision=row.revision,
        spec=struct(row.spec),
        created_at=row.created_at,
        updated_at=row.updated_at,
        unchanged=unchanged,
    )


def order(request: pb.CreateJobRequest) -> Order:
    return Order(
        request.pipeline,
        request.dataset_version,
        request.idempotency_key,
        request.clone_of,
        plain(request.changes),
        request.priority if request.HasField("priority") else None,
    )


def amount(budget: pb.Budget) -> Amount:
    """What is set of a budget. Raises InvalidArgument for what is no amount."""
    given = {field.name: value for field, value in budget.ListFields()}
    for key, value in given.items():
        if not 0 < value < float("inf"):
            raise InvalidArgument(
                f"budget.{key}: {value:g} is no budget; it is a number above 0", field=f"budget.{key}"
            )
    return Amount(**given)


def job(view: JobView) -> pb.Job:
    row, run = view.job, view.run
    return pb.Job(
        id=row.id,
        pipeline=row.pipeline,
        dataset_version=row.dataset_version,
        state=f"JOB_STATE_{row.state.upper()}",
        reason="; ".join(filter(None, (view.waits_for, row.reason))),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        trigger=row.trigger,
        step=run.step if run else 0,
        total_steps=run.total_steps if run else 0,
        loss=run.loss if run else None,
        tokens_per_second=run.tokens_per_second if run else None,
        eta=seconds(run.eta_seconds) if run else None,
        model_version=row.model_version or 0,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        sort=row.sort,
        clone_of=row.clone_of or "",
        verifies=row.verifies or 0,
        search=row.search or "",
        trial=row.trial,
        outcome=struct(row.outcome),
        code=row.code,
        tenant=row.tenant,
        priority=row.priority,
        device=DEVICES[row.device],
        budget=pb.Budget(**allowed(row).given()),
        spent=pb.Budget(**view.spent.given()),
        estimated_finish=run.estimated_finish_at if run else None,
        last_heard=run.heard_at if run else None,
        due_at=row.due_at,
    )


def search(view: SearchView, *, with_trials: bool = True) -> pb.Search:
    row, best = view.search, view.best
    return pb.Search(
        id=row.id,
        pipeline=row.pipeline,
        dataset_version=row.dataset_version,
        state=row.state,
        reason=row.reason,
        plan=struct(row.plan),
        trials=[search_trial(trial) for trial in view.trials] if with_trials else None,
        best=best.number if best else None,
        job=row.job or "",
        model_version=(view.job.model_version or 0) if view.job else 0,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def search_trial(trial: Trial) -> pb.SearchTrial:
    return pb.SearchTrial(
        number=trial.number,
        job=trial.job.id,
        state=trial.state,
        params=struct(trial.params),
        value=trial.value,
        reports=trial.reports,
    )


def job_event(event: tables.JobEvent, view: JobView) -> pb.JobEvent:
    return pb.JobEvent(
        sequence=event.sequence,
        kind=event.kind,
        detail=struct(event.detail),
        created_at=event.created_at,
        job=job(view),
    )


def run(row: tables.Run) -> pb.Run:
    return pb.Run(
        id=row.id,
        job=row.job,
        attempt=row.attempt,
        state=row.state,
        owner=row.owner,
        start_step=row.start_step,
        step=row.step,
        error=row.error,
        started_at=row.started_at,
        finished_at=row.finished_at,
        revision=row.revision,
        resumed_revision=row.resumed_revision,
        last_heard=row.heard_at,
        estimated_finish=row.estimated_finish_at,
    )


def checkpoint(row: tables.Checkpoint) -> pb.Checkpoint:
    return pb.Checkpoint(run=row.run, step=row.step, uri=row.uri, digest=row.digest, created_at=row.created_at)


def model(view: ModelView) -> pb.Model:
    return pb.Model(name=view.name, aliases=view.aliases, newest_version=view.newest_version)


def model_version(view: VersionView) -> pb.ModelVersion:
    row, judged = view.version, view.report
    return pb.ModelVersion(
        model=row.model,
        version=row.version,
        state=row.state,
        kind=row.kind,
        method=row.method,
        base=row.base,
        base_digest=row.base_digest,
        weights_uri=row.weights_uri,
        weights_digest=row.weights_digest,
        adapter_digest=row.adapter_digest,
        job=row.job,
        run=row.run,
        dataset_version=row.dataset_version,
        report=judged.id if judged else "",
        metrics=judged.metrics if judged else None,
        reasons=promotion.failed_rules(judged) if judged else None,
        created_at=row.created_at,
        conditions=struct(row.conditions),
        started_from=row.started_from or 0,
    )


def report(row: tables.Report) -> pb.EvaluationReport:
    return pb.EvaluationReport(
        id=row.id,
        model=row.model,
        version=row.version,
        champion=row.champion or 0,
        dataset_version=row.dataset_version,
        test_rows=row.test_rows,
        test_digest=row.test_digest,
        metrics=row.metrics,
        champion_metrics=row.champion_metrics,
        base_metrics=row.base_metrics,
        detail=struct(row.detail),
        verdict=row.verdict,
        reasons=[pb.GateReason(**rule) for rule in row.reasons],
        took=seconds(row.seconds),
        created_at=row.created_at,
    )


def lineage(found: Lineage) -> pb.LineageGraph:
    version, dataset = found.version, found.dataset
    return pb.LineageGraph(
        request_id=found.request_id,
        model_version=model_version(VersionView(version, found.report)) if version else None,
        run=run(found.run) if found.run else None,
        job=job(JobView(found.job, found.run)) if found.job else None,
        pipeline=found.model,
        dataset_version=version.dataset_version if version else 0,
        dataset_digest=dataset.digest if dataset else "",
        train_rows=dataset.train if dataset else 0,
        batches=[lineage_batch(row) for row in found.batches],
        report=found.report.id if found.report else "",
        revisions=found.revisions,
    )


def lineage_batch(row: tables.Batch) -> pb.LineageBatch:
    return pb.LineageBatch(id=row.id, batch_key=row.batch_key, source=row.source, rows=row.accepted)


def alias_move(row: tables.AliasMove) -> pb.AliasMove:
    return pb.AliasMove(
        model=row.model,
        alias=row.alias,
        from_version=row.from_version or 0,
        to_version=row.to_version or 0,
        actor=row.actor,
        reason=row.reason,
        created_at=row.created_at,
    )


def trigger_decision(row: tables.TriggerDecision) -> pb.TriggerDecision:
    return pb.TriggerDecision(
        pipeline=row.pipeline,
        dataset_version=row.dataset_version,
        trigger=row.trigger,
        decision=row.decision,
        reason=row.reason,
        job=row.job or "",
        created_at=row.created_at,
    )


def dead_letter(row: tables.DeadLetter) -> pb.DeadLetter:
    return pb.DeadLetter(
        id=row.id,
        queue=row.queue,
        task=row.task,
        type_name=row.type_name,
        error=row.error,
        attempts=row.attempts,
        created_at=row.created_at,
        replayed_at=row.replayed_at,
    )


def status(fleet: FleetStatus) -> pb.Status:
    return pb.Status(
        queues=fleet.queues,
        pipelines=[pb.PipelineStatus(**row.__dict__) for row in fleet.pipelines],
        dead_letters=fleet.dead_letters,
        broker_ready=fleet.broker_ready,
        leader=fleet.leader,
        training_workers=[
            pb.TrainingWorker(
                name=worker.owner,
                device=DEVICES[worker.device],
                revision=worker.revision,
                job=job,
                started_at=worker.started_at,
                last_heard=worker.heard_at,
            )
            for worker, job in fleet.workers
        ],
    )


def plain(given: Struct) -> dict[str, Any]:
    """A Struct's values, with whole numbers as such: it knows only doubles."""
    return {key: _whole(value) for key, value in MessageToDict(given).items()}


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def struct(fields: Mapping[str, Any]) -> Struct:
    made = Struct()
    made.update(fields)
    return made


def seconds(value: float | None) -> timedelta | None:
    return timedelta(seconds=value) if value is not None else None
