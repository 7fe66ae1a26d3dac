"""flywheel.control.v1.Control: convert, call, convert."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import grpc

from services.control import (
    catalogue,
    convert,
    declaring,
    operations,
    promotion,
    resuming,
    searches,
    training,
    trials,
    verifying,
)
from services.control.watching import Watcher
from shared.config import Settings
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.contracts.generated.flywheel.control.v1 import control_pb2_grpc
from shared.pipelines.reading import load_pipeline
from shared.rpc.paging import next_token, page
from shared.rpc.server import Server
from shared.storage.database import Database
from shared.storage.repositories import lineage, models, pipelines

Context = grpc.ServicerContext
Row = TypeVar("Row")


class ControlServicer(control_pb2_grpc.ControlServicer):
    """The service on a database; what it does is in the modules that it calls."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._watcher = Watcher(database)

    def ApplyPipeline(self, request: pb.ApplyPipelineRequest, context: Context) -> pb.Pipeline:
        wanted = load_pipeline(request.yaml)
        with self._database.write() as session:
            row, changed = declaring.apply(session, wanted, dry_run=request.dry_run)
            return convert.pipeline(row, unchanged=not changed)

    def GetPipeline(self, request: pb.GetPipelineRequest, context: Context) -> pb.Pipeline:
        with self._database.read() as session:
            return convert.pipeline(pipelines.get(session, request.name))

    def ListPipelines(self, request: pb.ListPipelinesRequest, context: Context) -> pb.ListPipelinesResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            rows, token = _cut(pipelines.page(session, limit + 1, offset), limit, offset)
        return pb.ListPipelinesResponse(pipelines=[convert.pipeline(row) for row in rows], next_page_token=token)

    def DeletePipeline(self, request: pb.DeletePipelineRequest, context: Context) -> pb.Pipeline:
        with self._database.write() as session:
            row = declaring.delete(session, request.name)
        with self._database.write() as session:
            declaring.cancel_jobs(session, request.name)
        return convert.pipeline(row)

    def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.Job:
        wanted = convert.order(request)
        device, attempts = device_kind(self._settings), self._settings.max_attempts
        with self._database.write() as session:
            return convert.job(training.create(session, wanted, device=device, max_attempts=attempts))

    def VerifyModel(self, request: pb.VerifyModelRequest, context: Context) -> pb.Job:
        wanted = (request.model, request.version, request.idempotency_key)
        with self._database.write() as session:
            return convert.job(verifying.verify(session, *wanted, max_attempts=self._settings.max_attempts))

    def CreateSearch(self, request: pb.CreateSearchRequest, context: Context) -> pb.Search:
        wanted = (request.pipeline, convert.plain(request.plan), request.dataset_version, request.idempotency_key)
        device, attempts = device_kind(self._settings), self._settings.max_attempts
        with self._database.write() as session:
            return convert.search(searches.create(session, *wanted, device=device, max_attempts=attempts))

    def GetSearch(self, request: pb.GetSearchRequest, context: Context) -> pb.Search:
        with self._database.read() as session:
            return convert.search(trials.view(session, searches.get(session, request.id)))

    def ListSearches(self, request: pb.ListSearchesRequest, context: Context) -> pb.ListSearchesResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            found = searches.page(session, request.pipeline, limit + 1, offset)
            views, token = _cut([trials.view(session, row) for row in found], limit, offset)
        listed = [convert.search(view, with_trials=False) for view in views]
        return pb.ListSearchesResponse(searches=listed, next_page_token=token)

    def CancelSearch(self, request: pb.CancelSearchRequest, context: Context) -> pb.Search:
        with self._database.write() as session:
            return convert.search(searches.cancel(session, request.id))

    def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.Job:
        with self._database.read() as session:
            return convert.job(training.get(session, request.id))

    def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            views, token = _cut(training.page(session, request.pipeline, limit + 1, offset), limit, offset)
        return pb.ListJobsResponse(jobs=[convert.job(view) for view in views], next_page_token=token)

    def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.Job:
        with self._database.write() as session:
            return convert.job(training.steer(session, request.id, "cancel"))

    def PauseJob(self, request: pb.PauseJobRequest, context: Context) -> pb.Job:
        with self._database.write() as session:
            return convert.job(training.steer(session, request.id, "pause"))

    def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.Job:
        with self._database.write() as session:
            more, attempts = convert.amount(request.budget), self._settings.max_attempts
            view = resuming.resume(
                session, request.id, more, allow_revision=request.allow_revision, max_attempts=attempts
            )
            return convert.job(view)

    def WatchJob(self, request: pb.WatchJobRequest, context: Context) -> Iterator[pb.JobEvent]:
        for event, view in self._watcher.watch(request.id, request.from_sequence, context.is_active):
            yield convert.job_event(event, view)

    def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        with self._database.read() as session:
            return pb.ListRunsResponse(runs=[convert.run(row) for row in training.runs(session, request.job)])

    def ListCheckpoints(self, request: pb.ListCheckpointsRequest, context: Context) -> pb.ListCheckpointsResponse:
        with self._database.read() as session:
            rows = training.checkpoints(session, request.job)
        return pb.ListCheckpointsResponse(checkpoints=[convert.checkpoint(row) for row in rows])

    def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            views, token = _cut(catalogue.list_models(session, limit + 1, offset), limit, offset)
        return pb.ListModelsResponse(models=[convert.model(view) for view in views], next_page_token=token)

    def ListModelVersions(self, request: pb.ListModelVersionsRequest, context: Context) -> pb.ListModelVersionsResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            found = catalogue.list_versions(session, request.model, limit + 1, offset)
        views, token = _cut(found, limit, offset)
        versions = [convert.model_version(view) for view in views]
        return pb.ListModelVersionsResponse(versions=versions, next_page_token=token)

    def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Context) -> pb.ModelVersion:
        with self._database.read() as session:
            return convert.model_version(catalogue.get_version(session, request.model, request.version))

    def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.EvaluationReport:
        with self._database.read() as session:
            return convert.report(catalogue.get_report(session, request.id, request.model, request.version))

    def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.LineageGraph:
        with self._database.read() as session:
            if request.request_id:
                return convert.lineage(lineage.of_answer(session, request.request_id))
            return convert.lineage(lineage.of_version(session, request.model, request.version))

    def Promote(self, request: pb.PromoteRequest, context: Context) -> pb.AliasMove:
        with self._database.write() as session:
            move = promotion.promote_by_hand(session, request.model, request.version, request.reason)
            return convert.alias_move(move)

    def Rollback(self, request: pb.RollbackRequest, context: Context) -> pb.AliasMove:
        with self._database.write() as session:
            return convert.alias_move(promotion.rollback(session, request.model, request.reason))

    def ListAliasMoves(self, request: pb.ListAliasMovesRequest, context: Context) -> pb.ListAliasMovesResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            rows, token = _cut(models.moves(session, request.model, limit + 1, offset), limit, offset)
        return pb.ListAliasMovesResponse(moves=[convert.alias_move(row) for row in rows], next_page_token=token)

    def ListTriggerDecisions(
        self, request: pb.ListTriggerDecisionsRequest, context: Context
    ) -> pb.ListTriggerDecisionsResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            found = catalogue.list_decisions(session, request.pipeline, limit + 1, offset)
        rows, token = _cut(found, limit, offset)
        decisions = [convert.trigger_decision(row) for row in rows]
        return pb.ListTriggerDecisionsResponse(decisions=decisions, next_page_token=token)

    def ListDeadLetters(self, request: pb.ListDeadLettersRequest, context: Context) -> pb.ListDeadLettersResponse:
        limit, offset = page(request.page_size, request.page_token)
        with self._database.read() as session:
            rows, token = _cut(operations.list_dead_letters(session, limit + 1, offset), limit, offset)
        letters = [convert.dead_letter(row) for row in rows]
        return pb.ListDeadLettersResponse(dead_letters=letters, next_page_token=token)

    def ReplayDeadLetter(self, request: pb.ReplayDeadLetterRequest, context: Context) -> pb.DeadLetter:
        with self._database.write() as session:
            return convert.dead_letter(operations.replay(session, request.id))

    def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.Status:
        return convert.status(operations.fleet_status(self._settings, self._database))


def register(server: Server, servicer: ControlServicer) -> None:
    """Adds the service to a gRPC server."""
    name = pb.DESCRIPTOR.services_by_name["Control"].full_name
    server.add(name, control_pb2_grpc.add_ControlServicer_to_server, servicer)


def device_kind(settings: Settings) -> str:
    """The kind of worker that new jobs are queued for."""
    return "gpu" if settings.device == "cuda" else "cpu"


def _cut(rows: Sequence[Row], limit: int, offset: int) -> tuple[Sequence[Row], str]:
    return rows[:limit], next_token(limit, offset, len(rows))
