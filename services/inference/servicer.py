"""The gRPC doors: each method converts, calls, converts."""

import time
from collections.abc import Iterator

import grpc

from services.inference import convert
from services.inference.answering.answers import AnswerLog
from services.inference.answering.classifying import Classifying
from services.inference.answering.feedback import FeedbackForwarder
from services.inference.answering.generating import Generating
from services.inference.operating import Operating
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import (
    InferenceServicer,
    add_InferenceServicer_to_server,
)
from shared.contracts.generated.flywheel.inference.v1.serving_pb2_grpc import (
    ServingServicer,
    add_ServingServicer_to_server,
)
from shared.rpc.server import Server

INFERENCE = "flywheel.inference.v1.Inference"
SERVING = "flywheel.inference.v1.Serving"

CLASSIFY_SECONDS = 30.0
GENERATE_SECONDS = 300.0
LOAD_SECONDS = 120.0
MARGIN_SECONDS = 0.05  # the server's deadline is a little before the client's, so that its answer arrives


class InferenceDoor(InferenceServicer):
    """flywheel.inference.v1.Inference."""

    def __init__(
        self,
        classifying: Classifying,
        generating: Generating,
        answers: AnswerLog,
        feedback: FeedbackForwarder[pb.RecordFeedbackResponse],
    ) -> None:
        self._classifying = classifying
        self._generating = generating
        self._answers = answers
        self._feedback = feedback

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:
        answer = self._classifying.classify(
            convert.model_ref(request.model),
            request.texts,
            request.top_k,
            request.request_id,
            deadline(context, CLASSIFY_SECONDS),
            context.add_callback,
        )
        return convert.classify_response(answer)

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        wanted = convert.generate_request(request)
        until = deadline(context, GENERATE_SECONDS)
        for event in self._generating.generate(wanted, until, context.add_callback):
            yield convert.generate_response(event)

    def Tokenize(self, request: pb.TokenizeRequest, context: grpc.ServicerContext) -> pb.TokenizeResponse:
        model = convert.model_ref(request.model)
        results = self._classifying.tokenize(model, request.texts, deadline(context, CLASSIFY_SECONDS))
        return convert.tokenize_response(results)

    def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: grpc.ServicerContext
    ) -> pb.RecordFeedbackResponse:
        return self._feedback.record(convert.feedback(request))

    def ExplainResponse(
        self, request: pb.ExplainResponseRequest, context: grpc.ServicerContext
    ) -> pb.ExplainResponseResponse:
        return convert.explanation(self._answers.find(request.request_id))


class ServingDoor(ServingServicer):
    """flywheel.inference.v1.Serving."""

    def __init__(self, operating: Operating, server: str) -> None:
        self._operating = operating
        self._server = server

    def ListDeployments(
        self, request: serving_pb2.ListDeploymentsRequest, context: grpc.ServicerContext
    ) -> serving_pb2.ListDeploymentsResponse:
        found = [convert.deployment(one, self._server) for one in self._operating.deployments()]
        return serving_pb2.ListDeploymentsResponse(deployments=found)

    def LoadModel(self, request: serving_pb2.LoadModelRequest, context: grpc.ServicerContext) -> serving_pb2.Deployment:
        model = convert.model_ref(request.model)
        return convert.deployment(self._operating.load_model(model, deadline(context, LOAD_SECONDS)), self._server)

    def UnloadModel(
        self, request: serving_pb2.UnloadModelRequest, context: grpc.ServicerContext
    ) -> serving_pb2.Deployment:
        return convert.deployment(self._operating.unload_model(convert.model_ref(request.model)), self._server)

    def GetLoad(self, request: serving_pb2.GetLoadRequest, context: grpc.ServicerContext) -> serving_pb2.Load:
        return convert.load(self._operating.load())

    def Abort(self, request: serving_pb2.AbortRequest, context: grpc.ServicerContext) -> serving_pb2.AbortResponse:
        return serving_pb2.AbortResponse(found=self._operating.abort(request.request_id))

    def Drain(self, request: serving_pb2.DrainRequest, context: grpc.ServicerContext) -> serving_pb2.DrainResponse:
        return serving_pb2.DrainResponse(running=self._operating.drain())

    def WatchDeployments(
        self, request: serving_pb2.WatchDeploymentsRequest, context: grpc.ServicerContext
    ) -> Iterator[serving_pb2.Deployment]:
        for seen in self._operating.watch(context.is_active):
            yield convert.deployment(seen, self._server)


def deadline(context: grpc.ServicerContext, default: float) -> float:
    """When the answer is due, on the clock of `time.monotonic`; the server's own limit when the client sets none."""
    left = context.time_remaining()
    if left is None or left > default:
        left = default
    return time.monotonic() + left - min(MARGIN_SECONDS, left / 10)


def register(server: Server, inference: InferenceDoor, serving: ServingDoor) -> None:
    server.add(INFERENCE, add_InferenceServicer_to_server, inference)
    server.add(SERVING, add_ServingServicer_to_server, serving)
