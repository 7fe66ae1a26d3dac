"""Real gRPC servers with servicers that remember what they were asked; the client's other side."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from shared.contracts.generated.flywheel.common.v1 import common_pb2 as common
from shared.contracts.generated.flywheel.control.v1 import control_pb2 as control
from shared.contracts.generated.flywheel.control.v1 import control_pb2_grpc
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as inference
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2_grpc
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as ingestion
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.errors import GateNotPassed, NotFound, Unavailable
from shared.rpc.server import Server

LINEAGE = common.Lineage(
    model="sentiment", version=2, weights_digest="ab", run="run-1", dataset_version=3, engine="torch"
)


class FakeInference(inference_pb2_grpc.InferenceServicer):
    """Fails `failures` calls with UNAVAILABLE, then answers."""

    def __init__(self) -> None:
        self.failures = 0
        self.cut_after = -1
        """Chunks before a stream is cut; -1 never."""
        self.requests: list[Any] = []
        self.cancelled = threading.Event()
        self.wait_seconds = 0.0

    def Classify(self, request: inference.ClassifyRequest, context: grpc.ServicerContext) -> inference.ClassifyResponse:
        self.requests.append(request)
        self._fail()
        time.sleep(self.wait_seconds)
        labels = [
            inference.LabelScore(label="positive", score=0.75, given=True),
            inference.LabelScore(label="negative", score=0.25),
        ]
        results = [inference.Classification(labels=labels) for _ in request.texts]
        answer = inference.ClassifyResponse(results=results, lineage=LINEAGE, request_id=request.request_id)
        answer.timings.total.FromMilliseconds(12)
        return answer

    def Generate(
        self, request: inference.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[inference.GenerateResponse]:
        self.requests.append(request)
        context.add_callback(lambda: self.cancelled.set() if not context.is_active() else None)
        yield inference.GenerateResponse(
            accepted=inference.Accepted(request_id=request.request_id, lineage=LINEAGE, prompt_tokens=5)
        )
        for index, word in enumerate(("Good ", "morning", "!")):
            if index == self.cut_after:
                self.cut_after = -1
                raise Unavailable("the engine went away", retry_seconds=0.01)
            yield inference.GenerateResponse(chunk=inference.TokenChunk(text=word, token_ids=[index]))
            time.sleep(self.wait_seconds)
        finished = inference.Finished(reason=inference.FINISH_REASON_EOS, usage=inference.Usage(completion_tokens=3))
        yield inference.GenerateResponse(finished=finished)

    def RecordFeedback(
        self, request: inference.RecordFeedbackRequest, context: grpc.ServicerContext
    ) -> inference.RecordFeedbackResponse:
        self.requests.append(request)
        batch = ingestion.Batch(id="batch-9", pipeline="sentiment") if request.consent else None
        return inference.RecordFeedbackResponse(feedback="feedback-1", batch=batch)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("draining", retry_seconds=0.01)


class FakeIngestion(ingestion_pb2_grpc.IngestionServicer):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.chunks: list[int] = []
        self.header: ingestion.BatchHeader | None = None
        self.file = b""
        self.failures = 0

    def AppendRows(
        self, requests: Iterator[ingestion.AppendRowsRequest], context: grpc.ServicerContext
    ) -> ingestion.Batch:
        self.rows.clear()
        for request in requests:
            kind = request.WhichOneof("content")
            if kind == "header":
                self.header = request.header
                if self.failures:
                    self.failures -= 1
                    raise Unavailable("draining", retry_seconds=0.01)
            else:
                self.chunks.append(len(request.rows.rows))
                self.rows.extend(dict(row) for row in request.rows.rows)
        assert self.header is not None
        return ingestion.Batch(
            id="batch-1",
            pipeline=self.header.pipeline,
            state=ingestion.BATCH_STATE_ACCEPTED,
            received=len(self.rows),
            accepted=len(self.rows),
            quarantine_reasons=[ingestion.ReasonCount(reason="UNKNOWN_LABEL", rows=1)],
        )

    def ImportFile(
        self, requests: Iterator[ingestion.ImportFileRequest], context: grpc.ServicerContext
    ) -> ingestion.Batch:
        for request in requests:
            if request.WhichOneof("content") == "header":
                self.header = request.header
            else:
                self.file += request.chunk
        return ingestion.Batch(id="batch-2", state=ingestion.BATCH_STATE_REJECTED, reason="no row can be used")

    def ListBatches(
        self, request: ingestion.ListBatchesRequest, context: grpc.ServicerContext
    ) -> ingestion.ListBatchesResponse:
        begin = int(request.page_token or 0)
        found = [ingestion.Batch(id=f"batch-{n}") for n in range(begin, min(begin + min(request.page_size, 100), 450))]
        token = str(begin + len(found)) if begin + len(found) < 450 else ""
        return ingestion.ListBatchesResponse(batches=found, next_page_token=token)


class FakeControl(control_pb2_grpc.ControlServicer):
    """A job with five events, whose stream is cut after the second."""

    def __init__(self) -> None:
        self.cut = True
        self.asked_from: list[int] = []
        self.keys: list[str] = []
        self.orders: list[control.CreateJobRequest] = []
        self.verdict = "identical"
        self.plans: list[dict[str, Any]] = []
        self.looks = 0
        self.resumed: list[control.ResumeJobRequest] = []

    def ResumeJob(self, request: control.ResumeJobRequest, context: grpc.ServicerContext) -> control.Job:
        self.resumed.append(request)
        return control.Job(id=request.id, state=control.JOB_STATE_QUEUED)

    def ListJobs(self, request: control.ListJobsRequest, context: grpc.ServicerContext) -> control.ListJobsResponse:
        job = control.Job(id="job-1", pipeline="sentiment", state=control.JOB_STATE_RUNNING, step=3, total_steps=9)
        job.estimated_finish.FromSeconds(1_700_003_600)
        job.last_heard.FromSeconds(1_700_000_009)
        job.spent.cost = 7.5
        waiting = control.Job(id="job-2", pipeline="sentiment", state=control.JOB_STATE_QUEUED)
        waiting.reason = "waiting for a cuda worker; none has been heard"
        return control.ListJobsResponse(jobs=[job, waiting])

    def WatchJob(self, request: control.WatchJobRequest, context: grpc.ServicerContext) -> Iterator[control.JobEvent]:
        self.asked_from.append(request.from_sequence)
        for number in range(max(request.from_sequence, 1), 6):
            if number == 3 and self.cut:
                self.cut = False
                raise Unavailable("draining", retry_seconds=0.01)
            event = control.JobEvent(sequence=number, kind="progress", job=_job(request.id))
            event.detail.update({"step": number, "loss": 0.5})
            event.created_at.FromSeconds(1_700_000_000 + number)
            yield event

    def GetJob(self, request: control.GetJobRequest, context: grpc.ServicerContext) -> control.Job:
        if request.id != "job-1":
            raise NotFound(f"no job {request.id!r}; nearest: 'job-1'", job=request.id)
        job = _job(request.id)
        job.outcome.update({"verdict": self.verdict})
        return job

    def CreateJob(self, request: control.CreateJobRequest, context: grpc.ServicerContext) -> control.Job:
        self.keys.append(request.idempotency_key)
        self.orders.append(request)
        return _job("job-1")

    def VerifyModel(self, request: control.VerifyModelRequest, context: grpc.ServicerContext) -> control.Job:
        made = _job("job-1")
        made.verifies = request.version or 7
        return made

    def CreateSearch(self, request: control.CreateSearchRequest, context: grpc.ServicerContext) -> control.Search:
        self.plans.append(MessageToDict(request.plan))
        return _search(2)

    def GetSearch(self, request: control.GetSearchRequest, context: grpc.ServicerContext) -> control.Search:
        self.looks += 1
        return _search(self.looks)

    def ListSearches(
        self, request: control.ListSearchesRequest, context: grpc.ServicerContext
    ) -> control.ListSearchesResponse:
        return control.ListSearchesResponse(searches=[_search(3)])

    def CancelSearch(self, request: control.CancelSearchRequest, context: grpc.ServicerContext) -> control.Search:
        return _search(3, "cancelled")

    def Promote(self, request: control.PromoteRequest, context: grpc.ServicerContext) -> control.AliasMove:
        raise GateNotPassed("sentiment v3: the verdict is fail", version=3)

    def GetStatus(self, request: control.GetStatusRequest, context: grpc.ServicerContext) -> control.Status:
        pipeline = control.PipelineStatus(name="sentiment", kind="classification", champion=2, rows=7500, state="idle")
        worker = control.TrainingWorker(name="machine:7", device="cpu", revision="1.0+abc", job="job-1")
        worker.last_heard.FromSeconds(1_700_000_009)
        return control.Status(
            queues={"ingestion": 3},
            pipelines=[pipeline],
            broker_ready=True,
            leader="control-1",
            training_workers=[worker],
        )


def _job(job: str) -> control.Job:
    made = control.Job(
        id=job, pipeline="sentiment", state=control.JOB_STATE_SUCCEEDED, step=5, total_steps=5, model_version=1
    )
    made.created_at.FromSeconds(1_700_000_000)
    return made


def _search(looks: int, state: str = "") -> control.Search:
    """Over after the third look; its second trial is better than its first."""
    over = looks >= 3
    search = control.Search(id="search-1", pipeline="sentiment", state=state or ("succeeded" if over else "running"))
    search.plan.update({"metric": "loss", "trials": 2})
    for number, value in enumerate((0.5, 0.25)[:looks]):
        trial = search.trials.add(number=number, job=f"job-{number}", state="complete", value=value, reports=[value])
        trial.params.update({"method.learning_rate": 10**-number})
        search.best = number
    search.reason = "trial 1 of search-1 was best: loss 0.25; model version 4" if over else ""
    return search


class Fleet:
    """The three services on one server."""

    def __init__(self, listen: str = "127.0.0.1:0") -> None:
        self.inference, self.ingestion, self.control = FakeInference(), FakeIngestion(), FakeControl()
        self.start(listen)

    def start(self, listen: str) -> None:
        self.server = Server(listen)
        self.server.add(
            "flywheel.inference.v1.Inference", inference_pb2_grpc.add_InferenceServicer_to_server, self.inference
        )
        self.server.add(
            "flywheel.ingestion.v1.Ingestion", ingestion_pb2_grpc.add_IngestionServicer_to_server, self.ingestion
        )
        self.server.add("flywheel.control.v1.Control", control_pb2_grpc.add_ControlServicer_to_server, self.control)
        self.server.start()
        self.address = self.server.address

    def stop(self) -> None:
        self.server.stop(0.1)
