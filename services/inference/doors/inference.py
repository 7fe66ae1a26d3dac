"""flywheel.inference.v1.Inference: each method converts, calls, converts."""

from collections.abc import Iterator

import grpc

from services.inference.answering.classifying import Classifying
from services.inference.answering.explaining import Explaining
from services.inference.answering.feedback import FeedbackForwarder
from services.inference.answering.generating import Generating
from services.inference.convert import classifying, feedback, generating
from services.inference.convert.common import model_ref
from services.inference.doors.deadlines import deadline
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import (
    InferenceServicer,
    add_InferenceServicer_to_server,
)
from shared.rpc.server import Server

INFERENCE = "flywheel.inference.v1.Inference"
CLASSIFY_SECONDS = 30.0
GENERATE_SECONDS = 300.0


class InferenceDoor(InferenceServicer):
    """flywheel.inference.v1.Inference."""

    def __init__(
        self,
        classify: Classifying,
        generate: Generating,
        explaining: Explaining,
        feedbacks: FeedbackForwarder[pb.RecordFeedbackResponse],
    ) -> None:
        self._classifying = classify
        self._generating = generate
        self._explaining = explaining
        self._feedback = feedbacks

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:
        answer = self._classifying.classify(
            model_ref(request.model),
            request.texts,
            request.top_k,
            request.request_id,
            deadline(context, CLASSIFY_SECONDS),
            context.add_callback,
        )
        return classifying.classify_response(answer)

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        wanted = generating.generate_request(request)
        until = deadline(context, GENERATE_SECONDS)
        for event in self._generating.generate(wanted, until, context.add_callback):
            yield generating.generate_response(event)

    def Tokenize(self, request: pb.TokenizeRequest, context: grpc.ServicerContext) -> pb.TokenizeResponse:
        model = model_ref(request.model)
        results = self._classifying.tokenize(model, request.texts, deadline(context, CLASSIFY_SECONDS))
        return classifying.tokenize_response(results)

    def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: grpc.ServicerContext
    ) -> pb.RecordFeedbackResponse:
        return self._feedback.record(feedback.feedback(request))

    def ExplainResponse(
        self, request: pb.ExplainResponseRequest, context: grpc.ServicerContext
    ) -> pb.ExplainResponseResponse:
        return feedback.explanation(self._explaining.explain(request.request_id))


def register(server: Server, door: InferenceDoor) -> None:
    server.add(INFERENCE, add_InferenceServicer_to_server, door)
