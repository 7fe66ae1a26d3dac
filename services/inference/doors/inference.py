"""flywheel.inference.v1.Inference: each method converts, calls, converts."""

from collections.abc import Iterator
from typing import Protocol

import grpc

from services.inference.answering.asking import Ask, Asking
from services.inference.answering.classifying import Classifying
from services.inference.answering.embedding import Embedding
from services.inference.answering.explaining import Explaining
from services.inference.answering.feedback import FeedbackForwarder
from services.inference.answering.generating import Generating
from services.inference.answering.questioning import Questioning
from services.inference.answering.relating import Relating
from services.inference.answering.rewriting import RewritingTexts
from services.inference.answering.tagging import Tagging
from services.inference.convert import (
    classifying,
    embedding,
    feedback,
    generating,
    questioning,
    relating,
    rewriting,
    tagging,
)
from services.inference.convert.common import model_ref
from services.inference.doors.charging import charge_usage, charged
from services.inference.doors.deadlines import deadline
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1.inference_pb2_grpc import (
    InferenceServicer,
    add_InferenceServicer_to_server,
)
from shared.rpc import callers
from shared.rpc.server import Server

INFERENCE = "flywheel.inference.v1.Inference"
CLASSIFY_SECONDS = 30.0
GENERATE_SECONDS = 300.0
REWRITE_SECONDS = 120.0
SLACK_SECONDS = 30.0
"""Between the deadline of an answer and the end of a call whose client does not read it."""


class InferenceDoor(InferenceServicer):
    """flywheel.inference.v1.Inference."""

    def __init__(
        self,
        classify: Classifying,
        generate: Generating,
        explaining: Explaining,
        feedbacks: FeedbackForwarder[pb.RecordFeedbackResponse],
        asking: Asking,
    ) -> None:
        self._classifying = classify
        self._generating = generate
        self._explaining = explaining
        self._feedback = feedbacks
        self._tagging = Tagging(asking)
        self._relating = Relating(asking)
        self._questioning = Questioning(asking)
        self._embedding = Embedding(asking)
        self._rewriting = RewritingTexts(asking)

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:
        answer = self._classifying.classify(
            model_ref(request.model),
            request.texts,
            request.top_k,
            request.request_id,
            deadline(context, CLASSIFY_SECONDS),
            context.add_callback,
            classifying.pairs(request),
            request.explain,
        )
        return classifying.classify_response(answer)

    def Generate(self, request: pb.GenerateRequest, context: grpc.ServicerContext) -> Iterator[pb.GenerateResponse]:
        wanted = generating.generate_request(request)
        until = deadline(context, GENERATE_SECONDS)
        for event in charged(self._generating.generate(wanted, until, context.add_callback, callers.tenant())):
            yield generating.generate_response(event)

    def TagTokens(self, request: pb.TagTokensRequest, context: grpc.ServicerContext) -> pb.TagTokensResponse:
        words = [list(text.words) for text in request.tokenised]
        answer = self._tagging.tag(_ask(request, context, CLASSIFY_SECONDS), request.texts, words)
        return tagging.tag_response(request, answer)

    def ExtractRelations(
        self, request: pb.ExtractRelationsRequest, context: grpc.ServicerContext
    ) -> pb.ExtractRelationsResponse:
        texts = relating.marked_texts(request)
        return relating.relate_response(self._relating.relate(_ask(request, context, CLASSIFY_SECONDS), texts))

    def AnswerQuestion(
        self, request: pb.AnswerQuestionRequest, context: grpc.ServicerContext
    ) -> pb.AnswerQuestionResponse:
        questions = questioning.questions(request)
        answer = self._questioning.answer(_ask(request, context, CLASSIFY_SECONDS), questions)
        return questioning.question_response(answer)

    def Embed(self, request: pb.EmbedRequest, context: grpc.ServicerContext) -> pb.EmbedResponse:
        ask = _ask(request, context, CLASSIFY_SECONDS)
        return embedding.embed_response(self._embedding.embed(ask, request.texts, request.normalise))

    def Score(self, request: pb.ScoreRequest, context: grpc.ServicerContext) -> pb.ScoreResponse:
        ask = _ask(request, context, CLASSIFY_SECONDS)
        return embedding.score_response(self._embedding.score(ask, request.query, request.candidates))

    def Translate(self, request: pb.TranslateRequest, context: grpc.ServicerContext) -> pb.TranslateResponse:
        languages = (request.source_language, request.target_language)
        bounds = rewriting.bounds(request.rewriting)
        ask = _ask(request, context, REWRITE_SECONDS)
        response = rewriting.translate_response(self._rewriting.translate(ask, request.texts, languages, bounds))
        charge_usage(response.usage)
        return response

    def Summarize(self, request: pb.SummarizeRequest, context: grpc.ServicerContext) -> pb.SummarizeResponse:
        bounds = rewriting.bounds(request.rewriting)
        ask = _ask(request, context, REWRITE_SECONDS)
        response = rewriting.summarize_response(self._rewriting.summarise(ask, request.texts, bounds))
        charge_usage(response.usage)
        return response

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


class _Request(Protocol):
    """What the requests have in common."""

    @property
    def model(self) -> common_pb2.ModelRef: ...

    @property
    def request_id(self) -> str: ...


def _ask(request: _Request, context: grpc.ServicerContext, seconds: float) -> Ask:
    return Ask(model_ref(request.model), request.request_id, deadline(context, seconds), context.add_callback)


def register(server: Server, door: InferenceDoor) -> None:
    server.add(INFERENCE, add_InferenceServicer_to_server, door, longest=GENERATE_SECONDS + SLACK_SECONDS)
