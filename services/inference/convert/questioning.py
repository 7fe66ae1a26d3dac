"""AnswerQuestion."""

from services.inference.answering.asking import Answered
from services.inference.convert.common import lineage, timings
from services.inference.kinds.capabilities import Question, QuestionAnswer
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb


def questions(request: pb.AnswerQuestionRequest) -> list[Question]:
    return [Question(one.question, one.context, list(one.candidates)) for one in request.questions]


def question_response(answer: Answered[list[QuestionAnswer]]) -> pb.AnswerQuestionResponse:
    return pb.AnswerQuestionResponse(
        answers=[_answer(one) for one in answer.result],
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
    )


def _answer(one: QuestionAnswer) -> pb.QuestionAnswer:
    start, end = one.span
    return pb.QuestionAnswer(
        text=one.text,
        span=pb.Span(start=start, end=end) if end else None,
        candidate=one.candidate,
        score=one.score,
        no_answer=one.no_answer,
        candidate_scores=one.candidate_scores,
    )
