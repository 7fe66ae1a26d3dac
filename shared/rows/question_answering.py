"""Rows of extractive question answering: a question, a context, and where in it the answers stand."""

from collections.abc import Mapping
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.spans import composed_place, find_once, listed, places_of
from shared.rows.values import a_list, clean_text, from_json, quoted, required, type_name, whole_number

Answer = dict[str, Any]


class QuestionAnsweringSchema(Schema):
    """`question`, `context` and `answers`, a list of {text, start}, start in characters; several are all right, none
    means that the context does not say. `start` may be absent where the text occurs once. SQuAD's own form, {text:
    [...], answer_start: [...]}, is taken too."""

    kind = "question_answering"
    columns = ("question", "context", "answers")
    outputs = frozenset({"answers"})
    inputs = ("question", "context", "answers")
    texts = ("question", "context")
    has_places = True

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        question = clean_text(required(row, "question", names), "question")
        given = required(row, "context", names)
        context = clean_text(given, "context")
        said = _listed(required(row, "answers", names))
        answers = [_answer(answer, given, context, f"answers[{place}]") for place, answer in enumerate(said)]
        answers = sorted({(one["start"], one["text"]): one for one in answers}.values(), key=lambda one: one["start"])
        content = [part for one in answers for part in (str(one["start"]), one["text"])]
        stored = {"question": question, "context": context, "answers": answers}
        return ParsedRow(row_id(self.kind, question, context, *content), loosened(context), stored)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """The correction is the answer's words, or JSON: a list of {text, start}, empty for no answer."""
        right = from_json(correction)
        answers = right if isinstance(right, list) else [right if isinstance(right, dict) else {"text": correction}]
        return {"question": given.get("question"), "context": given.get("context"), "answers": answers}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        return {"characters": len(fields["context"]) + len(fields["question"]), "answers": len(fields["answers"])}


def _listed(value: Any) -> list[Any]:
    """Answers one by one, however they come."""
    if not isinstance(value, Mapping):
        return a_list(value, "answers")
    texts = a_list(value.get("text"), "answers.text")
    starts = a_list(value.get("answer_start", value.get("start")), "answers.answer_start")
    if len(texts) != len(starts):
        message = f"there are {len(texts)} texts and {len(starts)} starts of answers"
        raise RowError(Reason.LENGTHS_DIFFER, "answers", message)
    return [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]


def _answer(value: Any, given: str, context: str, field: str) -> Answer:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be an object, not {type_name(value)}")
    raw = value.get("text")
    if raw is None:
        raise RowError(Reason.MISSING_FIELD, f"{field}.text", f"{field}.text is missing; no answer is an empty list")
    text = clean_text(raw, f"{field}.text")
    start = value.get("start", value.get("answer_start"))
    if start is None:
        return {"text": text.strip(), "start": find_once(context, text.strip(), f"{field}.text").start}
    place = composed_place(given, whole_number(start, f"{field}.start"))
    if place < 0 or context[place : place + len(text)] != text:
        raise RowError(Reason.NOT_IN_TEXT, field, _elsewhere(context, text.strip(), place, field))
    return {"text": text.strip(), "start": place + len(text) - len(text.lstrip())}


def _elsewhere(context: str, text: str, place: int, field: str) -> str:
    places = places_of(context, text)
    where = f"it occurs at {listed(places)}" if places else "it does not occur there at all"
    return f"{field} {quoted(text)} is not at character {place} of the context; {where}"
