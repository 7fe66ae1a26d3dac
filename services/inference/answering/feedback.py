"""What users think of answers, passed on to ingestion with the remembered input and output."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.inference.answering.answers import Answer, AnswerLog
from services.inference.answering.generating import METHOD as GENERATE
from services.inference.answering.requests import check_request_id
from shared.errors import FailedPrecondition, InvalidArgument

Receipt = TypeVar("Receipt")
SCORE = "Score"
"""Is about one query: the answer is the candidate with the best score."""
FIELDS = {
    "Classify": "labels",
    "TagTokens": "entities",
    "ExtractRelations": "relations",
    "AnswerQuestion": "answers",
    "Translate": "texts",
    "Summarize": "texts",
}
"""Where the answers of a method stand in what is remembered of them."""
LANGUAGES = ("source_language", "target_language")


@dataclass(frozen=True)
class Feedback:
    """As a client sends it; `index` says which text of a request with several."""

    request_id: str
    rating: float | None
    correction: str | None
    comment: str
    consent: bool
    index: int


@dataclass(frozen=True)
class FeedbackOnAnswer:
    """As ingestion takes it: with the answer it is about."""

    feedback: Feedback
    pipeline: str
    model_version: int
    input: Mapping[str, Any]
    output: str


class FeedbackForwarder(Generic[Receipt]):
    """`send` carries it to ingestion and returns ingestion's receipt."""

    def __init__(self, answers: AnswerLog, send: Callable[[FeedbackOnAnswer], Receipt]) -> None:
        self._answers = answers
        self._send = send

    def record(self, feedback: Feedback) -> Receipt:
        """Raises NotFound for an unknown request, InvalidArgument for a rating or index out of range."""
        _check(feedback)
        answer = self._answers.find(feedback.request_id)
        asked, answered = _one_input(answer, feedback.index)
        about = FeedbackOnAnswer(feedback, answer.lineage.model, answer.lineage.version, asked, answered)
        return self._send(about)


def _check(feedback: Feedback) -> None:
    check_request_id(feedback.request_id)
    if not feedback.request_id:
        raise InvalidArgument("request_id is empty", field="request_id")
    if feedback.rating is not None and not -1 <= feedback.rating <= 1:
        raise InvalidArgument(f"rating is {feedback.rating:g}; it must be from -1 to 1", field="rating")
    if feedback.rating is None and feedback.correction is None and not feedback.comment:
        raise InvalidArgument("one of rating, correction and comment must be given", field="rating")


def _one_input(answer: Answer, index: int) -> tuple[Mapping[str, Any], str]:
    """The row fields of one input, and what was answered to it."""
    if answer.method == GENERATE:
        if "messages" not in answer.input:
            raise FailedPrecondition("a prompt of token ids can't become a row; ask with text or messages")
        return answer.input, str(answer.output["text"])
    if answer.method == SCORE:
        candidates, scores = answer.input["candidates"], answer.output["scores"]
        return answer.input, str(candidates[max(range(len(scores)), key=scores.__getitem__)])
    if answer.method not in FIELDS:
        raise FailedPrecondition(f"answers of {answer.method} take no feedback", method=answer.method)
    answered = answer.output[FIELDS[answer.method]]
    (asked,) = (given for given in answer.input.values() if isinstance(given, list))
    if not 0 <= index < len(asked):
        raise InvalidArgument(f"index is {index}; the request had {len(asked)} texts, from 0", field="index")
    output = answered[index] if isinstance(answered[index], str) else json.dumps(answered[index])
    languages = {name: answer.input[name] for name in LANGUAGES if answer.input.get(name)}
    return {**_as_row(asked[index]), **languages}, output


def _as_row(asked: Any) -> Mapping[str, Any]:
    """A text, a pair of texts, or fields that have names already."""
    if isinstance(asked, str):
        return {"text": asked}
    return {"text": asked[0], "text_pair": asked[1]} if isinstance(asked, list) else dict(asked)
