"""A small server behind the real door: it says who called, and streams without end."""

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from structlog.contextvars import get_contextvars

from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2_grpc, serving_pb2, serving_pb2_grpc
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2, ingestion_pb2_grpc
from shared.rpc import callers
from shared.rpc.channel import open_channel
from shared.rpc.limits import Limits
from shared.rpc.security import OPEN, Security
from shared.rpc.server import Server

CHUNK = "x" * 4096


class Inference(inference_pb2_grpc.InferenceServicer):
    """`Classify` answers with the caller's tenant as request id; `Generate` never stops by itself."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Event()
        self.leave.set()
        self.sent = 0
        self.running = 0
        self.logged: dict[str, object] = {}
        """What every line of the log would carry in the last call."""

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:
        self.entered.release()
        self.logged = get_contextvars()
        assert self.leave.wait(30)
        return pb.ClassifyResponse(request_id=callers.tenant())

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        self.running += 1
        try:
            callers.charge(request.stopping.max_tokens)
            while True:
                self.sent += 1
                yield pb.GenerateResponse(chunk=pb.TokenChunk(text=CHUNK))
        finally:
            self.running -= 1

    def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: grpc.ServicerContext
    ) -> pb.RecordFeedbackResponse:
        return pb.RecordFeedbackResponse()


class Serving(serving_pb2_grpc.ServingServicer):
    def GetLoad(self, request: serving_pb2.GetLoadRequest, context: grpc.ServicerContext) -> serving_pb2.Load:
        return serving_pb2.Load()


class Ingestion(ingestion_pb2_grpc.IngestionServicer):
    def AppendRows(
        self, requests: Iterator[ingestion_pb2.AppendRowsRequest], context: grpc.ServicerContext
    ) -> ingestion_pb2.Batch:
        return ingestion_pb2.Batch(received=sum(1 for _ in requests))

    def GetBatch(self, request: ingestion_pb2.GetBatchRequest, context: grpc.ServicerContext) -> ingestion_pb2.Batch:
        return ingestion_pb2.Batch(id=request.id)


class World:
    """One server with the three services, and channels to it that are closed at the end."""

    def __init__(self, security: Security = OPEN, threads: int = 8, **limits: Any) -> None:
        self.server = Server("127.0.0.1:0", threads=threads, security=security, limits=Limits(**limits))
        self.inference = Inference()
        add = self.server.add
        add("flywheel.inference.v1.Inference", inference_pb2_grpc.add_InferenceServicer_to_server, self.inference)
        add("flywheel.inference.v1.Serving", serving_pb2_grpc.add_ServingServicer_to_server, Serving())
        add("flywheel.ingestion.v1.Ingestion", ingestion_pb2_grpc.add_IngestionServicer_to_server, Ingestion())
        self.server.start()
        self.address = self.server.address
        self.port = int(self.address.rpartition(":")[2])
        self._channels: list[grpc.Channel] = []

    def channel(self, security: Security = OPEN, **limits: Any) -> grpc.Channel:
        channel = open_channel(self.address, retries=False, security=security, limits=Limits(**limits))
        self._channels.append(channel)
        return channel

    def close(self) -> None:
        self.inference.leave.set()
        for channel in self._channels:
            channel.close()
        self.server.stop(0)


def classify(channel: grpc.Channel, model: str = "mood", **options: Any) -> str:
    """The tenant that the server saw."""
    request = pb.ClassifyRequest(model=common_pb2.ModelRef(name=model), texts=["good"])
    stub = inference_pb2_grpc.InferenceStub(channel)
    answer: pb.ClassifyResponse = stub.Classify(request, timeout=10, **options)
    return answer.request_id


def generate(channel: grpc.Channel, timeout: float | None = 10, priority: int = 0, tokens: int = 1) -> Any:
    request = pb.GenerateRequest(model=common_pb2.ModelRef(name="helper"), text="on", priority=priority)
    request.stopping.max_tokens = tokens
    return inference_pb2_grpc.InferenceStub(channel).Generate(request, timeout=timeout)
