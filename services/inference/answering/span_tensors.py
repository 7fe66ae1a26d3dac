"""Questions, choices and marked texts in tensors; spans are two numbers, characters of the text they lie in."""

from collections.abc import Sequence

from services.inference.answering.signatures import BYTES, FP32, INT64
from services.inference.answering.tensor_messages import Tensor, TensorRequest
from services.inference.kinds.capabilities import Question, QuestionAnswer
from services.inference.kinds.relation_extraction import MarkedText, Relation
from shared.errors import InvalidArgument
from shared.modeling.kinds.markers import Direction, Span

NO_DIRECTION = "none"


def questions_of(request: TensorRequest) -> list[Question]:
    """Each about the context in the same place. Raises InvalidArgument."""
    questions, contexts = request.inputs["question"], request.inputs["context"]
    if len(questions) != len(contexts):
        raise InvalidArgument(
            f"context has {len(contexts)} elements and question {len(questions)}; they must be as many", field="context"
        )
    return [Question(question, context) for question, context in zip(questions, contexts, strict=True)]


def answer_tensors(found: Sequence[QuestionAnswer]) -> list[Tensor]:
    rows = (len(found),)
    return [
        Tensor("answer", BYTES, rows, [one.text for one in found]),
        Tensor("score", FP32, rows, [one.score for one in found]),
        Tensor("no_answer", FP32, rows, [one.no_answer for one in found]),
        Tensor("span", INT64, (len(found), 2), [end for one in found for end in one.span]),
    ]


def choice_of(request: TensorRequest) -> Question:
    """One question with its candidates. Raises InvalidArgument."""
    question = request.inputs["question"]
    if len(question) != 1:
        raise InvalidArgument(f"question has {len(question)} elements; it must have 1", field="question")
    return Question(question[0], candidates=request.inputs["text_input"])


def choice_tensors(found: QuestionAnswer) -> list[Tensor]:
    """The best candidate, its place, and the share of each."""
    return [
        Tensor("answer", BYTES, (1,), [found.text]),
        Tensor("candidate", INT64, (1,), [found.candidate]),
        Tensor("score", FP32, (len(found.candidate_scores),), found.candidate_scores),
    ]


def marked_of(request: TensorRequest) -> list[MarkedText]:
    """Texts with two spans each. Raises InvalidArgument."""
    texts = request.inputs["text_input"]
    heads, tails = (_spans(request, name, len(texts)) for name in ("head", "tail"))
    return [MarkedText(*one) for one in zip(texts, heads, tails, strict=True)]


def relation_tensors(found: Sequence[Relation]) -> list[Tensor]:
    rows = (len(found),)
    return [
        Tensor("label", BYTES, rows, [one.label for one in found]),
        Tensor("score", FP32, rows, [one.score for one in found]),
        Tensor("direction", BYTES, rows, [_word(one.direction) for one in found]),
    ]


def _spans(request: TensorRequest, name: str, texts: int) -> list[Span]:
    values = request.numbers[name]
    if len(values) != 2 * texts:
        raise InvalidArgument(
            f"{name} has {len(values)} elements for {texts} texts; each text has a start and an end", field=name
        )
    return list(zip(values[::2], values[1::2], strict=True))


def _word(direction: Direction) -> str:
    return direction.value or NO_DIRECTION
