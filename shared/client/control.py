"""Calls of the control service."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from shared.client import operations as ops
from shared.client.connection import Connection
from shared.client.paging import every
from shared.client.reading import read, struct
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as pb
from shared.contracts.generated.flywheel.control.v1.control_pb2_grpc import ControlStub
from shared.errors import DeadlineExceeded, Unavailable

WATCH_SECONDS = 3600.0
"""A watch longer than this is opened again where it stood."""


class ControlCalls:
    """Pipelines, jobs, models and their history. Raises the errors of shared.errors."""

    _control: Connection

    def apply_pipeline(self, yaml: str, *, dry_run: bool = False) -> ops.Pipeline:
        """Declares or changes a pipeline from the text of its file."""
        return read(ops.Pipeline, self._ask("ApplyPipeline", pb.ApplyPipelineRequest(yaml=yaml, dry_run=dry_run)))

    def pipeline(self, name: str) -> ops.Pipeline:
        return read(ops.Pipeline, self._ask("GetPipeline", pb.GetPipelineRequest(name=name)))

    def pipelines(self) -> list[ops.Pipeline]:
        found = self._every("ListPipelines", pb.ListPipelinesRequest(), "pipelines", 0)
        return [read(ops.Pipeline, pipeline) for pipeline in found]

    def delete_pipeline(self, name: str) -> ops.Pipeline:
        """Stops a pipeline; its versions stay readable."""
        return read(ops.Pipeline, self._ask("DeletePipeline", pb.DeletePipelineRequest(name=name)))

    def train(
        self,
        pipeline: str,
        *,
        dataset_version: int = 0,
        idempotency_key: str = "",
        clone_of: str = "",
        changes: Mapping[str, Any] | None = None,
        priority: int | None = None,
    ) -> ops.Job:
        """Starts a job by hand, on the newest dataset version unless one is given.

        With `clone_of` it takes that job's spec and dataset version over. `changes` gives keys of the pipeline
        file, such as `method.learning_rate`, other values for this job alone. A higher `priority` goes first.
        """
        request = pb.CreateJobRequest(
            pipeline=pipeline,
            dataset_version=dataset_version,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            clone_of=clone_of,
            changes=struct(changes or {}),
            priority=priority,
        )
        return read(ops.Job, self._ask("CreateJob", request))

    def verify(self, model: str, version: int = 0, *, idempotency_key: str = "") -> ops.Job:
        """Starts a job that trains a version (the champion without `version`) again and compares the weights.

        Its `outcome` has the verdict, `identical` or `differs`, once it succeeded.
        """
        request = pb.VerifyModelRequest(
            model=model, version=version, idempotency_key=idempotency_key or uuid.uuid4().hex
        )
        return read(ops.Job, self._ask("VerifyModel", request))

    def search(
        self,
        pipeline: str,
        plan: Mapping[str, Any] | None = None,
        *,
        dataset_version: int = 0,
        idempotency_key: str = "",
    ) -> ops.Search:
        """Begins a search for better settings; its best trial becomes a version.

        `plan` has the keys of `search` in a pipeline file; what it leaves out is the pipeline's, then the default.
        """
        request = pb.CreateSearchRequest(
            pipeline=pipeline,
            plan=struct(plan or {}),
            dataset_version=dataset_version,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
        )
        return read(ops.Search, self._ask("CreateSearch", request))

    def search_status(self, search: str) -> ops.Search:
        """A search with its trials."""
        return read(ops.Search, self._ask("GetSearch", pb.GetSearchRequest(id=search)))

    def searches(self, pipeline: str = "", limit: int = 50) -> list[ops.Search]:
        """Newest first, without their trials."""
        found = self._every("ListSearches", pb.ListSearchesRequest(pipeline=pipeline), "searches", limit)
        return [read(ops.Search, search) for search in found]

    def cancel_search(self, search: str) -> ops.Search:
        """Ends a search and its trials."""
        return read(ops.Search, self._ask("CancelSearch", pb.CancelSearchRequest(id=search)))

    def job(self, job: str) -> ops.Job:
        return read(ops.Job, self._ask("GetJob", pb.GetJobRequest(id=job)))

    def jobs(self, pipeline: str = "", limit: int = 50) -> list[ops.Job]:
        """Newest first."""
        found = self._every("ListJobs", pb.ListJobsRequest(pipeline=pipeline), "jobs", limit)
        return [read(ops.Job, job) for job in found]

    def cancel(self, job: str) -> ops.Job:
        return read(ops.Job, self._ask("CancelJob", pb.CancelJobRequest(id=job)))

    def pause(self, job: str) -> ops.Job:
        """Stops it at a checkpoint."""
        return read(ops.Job, self._ask("PauseJob", pb.PauseJobRequest(id=job)))

    def resume(self, job: str, *, budget: ops.Budget | None = None, allow_revision: bool = False) -> ops.Job:
        """Queues a job again that was paused, used up its budget or met the checkpoint of another code revision.

        Keys of `budget` that are set change what it may cost; `allow_revision` lets it go on at such a checkpoint.
        """
        more = pb.Budget(**{key: value for key, value in asdict(budget or ops.Budget()).items() if value is not None})
        request = pb.ResumeJobRequest(id=job, budget=more, allow_revision=allow_revision)
        return read(ops.Job, self._ask("ResumeJob", request))

    def watch(self, job: str, from_sequence: int = 0) -> Iterator[ops.JobEvent]:
        """A job's events until it is over; goes on where it stood when the service was away for a moment."""
        last = from_sequence - 1
        while True:
            try:
                for event in self._watch_once(job, last + 1):
                    last = event.sequence
                    yield event
                return
            except (Unavailable, DeadlineExceeded):
                self.job(job)  # waits for the service, or says that it can't be reached

    def runs(self, job: str) -> list[ops.Run]:
        """The attempts at a job, oldest first."""
        return [read(ops.Run, run) for run in self._ask("ListRuns", pb.ListRunsRequest(job=job)).runs]

    def checkpoints(self, job: str) -> list[ops.Checkpoint]:
        found = self._ask("ListCheckpoints", pb.ListCheckpointsRequest(job=job)).checkpoints
        return [read(ops.Checkpoint, checkpoint) for checkpoint in found]

    def models(self) -> list[ops.Model]:
        found = self._every("ListModels", pb.ListModelsRequest(), "models", 0)
        return [read(ops.Model, model) for model in found]

    def model_versions(self, model: str, limit: int = 50) -> list[ops.ModelVersion]:
        """Newest first."""
        found = self._every("ListModelVersions", pb.ListModelVersionsRequest(model=model), "versions", limit)
        return [read(ops.ModelVersion, version) for version in found]

    def model_version(self, model: str, version: int = 0) -> ops.ModelVersion:
        """The champion without `version`."""
        request = pb.GetModelVersionRequest(model=model, version=version)
        return read(ops.ModelVersion, self._ask("GetModelVersion", request))

    def report(self, model: str, version: int = 0) -> ops.Report:
        """The newest judged version's report without `version`."""
        return read(ops.Report, self._ask("GetReport", pb.GetReportRequest(model=model, version=version)))

    def lineage(self, *, request_id: str = "", model: str = "", version: int = 0) -> ops.LineageGraph:
        """Follows an answer, or a model version (the champion without `version`), back to its rows."""
        request = pb.GetLineageRequest(request_id=request_id, model=model, version=version)
        return read(ops.LineageGraph, self._ask("GetLineage", request))

    def promote(self, model: str, version: int, reason: str = "") -> ops.AliasMove:
        """Makes a version champion. Raises GateNotPassed unless its verdict is pass."""
        request = pb.PromoteRequest(model=model, version=version, reason=reason)
        return read(ops.AliasMove, self._ask("Promote", request))

    def rollback(self, model: str, reason: str = "") -> ops.AliasMove:
        """Makes the champion before this one champion again; never sent twice."""
        request = pb.RollbackRequest(model=model, reason=reason)
        return read(ops.AliasMove, self._ask("Rollback", request, repeatable=False))

    def alias_moves(self, model: str, limit: int = 50) -> list[ops.AliasMove]:
        """Newest first."""
        found = self._every("ListAliasMoves", pb.ListAliasMovesRequest(model=model), "moves", limit)
        return [read(ops.AliasMove, move) for move in found]

    def trigger_decisions(self, pipeline: str, limit: int = 50) -> list[ops.TriggerDecision]:
        """Why jobs were started, or not; newest first."""
        request = pb.ListTriggerDecisionsRequest(pipeline=pipeline)
        found = self._every("ListTriggerDecisions", request, "decisions", limit)
        return [read(ops.TriggerDecision, decision) for decision in found]

    def dead_letters(self, limit: int = 50) -> list[ops.DeadLetter]:
        found = self._every("ListDeadLetters", pb.ListDeadLettersRequest(), "dead_letters", limit)
        return [read(ops.DeadLetter, letter) for letter in found]

    def replay_dead_letter(self, letter: str) -> ops.DeadLetter:
        return read(ops.DeadLetter, self._ask("ReplayDeadLetter", pb.ReplayDeadLetterRequest(id=letter)))

    def status(self) -> ops.FleetStatus:
        return read(ops.FleetStatus, self._ask("GetStatus", pb.GetStatusRequest()))

    def _watch_once(self, job: str, sequence: int) -> Iterator[ops.JobEvent]:
        stub = self._control.stub(ControlStub)
        with self._control.errors():
            request = pb.WatchJobRequest(id=job, from_sequence=max(sequence, 0))
            for event in stub.WatchJob(request, timeout=WATCH_SECONDS):
                yield read(ops.JobEvent, event)

    def _ask(self, method: str, request: Any, *, repeatable: bool = True) -> Any:
        stub = self._control.stub(ControlStub)
        return self._control.call(getattr(stub, method), request, repeatable=repeatable)

    def _every(self, method: str, request: Any, field: str, limit: int) -> Iterator[Any]:
        stub = self._control.stub(ControlStub)
        return every(self._control, getattr(stub, method), request, field, limit)
