"""Rows of answer selection: a question, candidates, and which of them answers it."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.pipelines.schema import PipelineSpec
from shared.rows.base import ParsedRow, Reason, RowError, Schema, loosened, row_id
from shared.rows.values import clean_text, clean_texts, quoted, required, type_name

MAX_CANDIDATES = 256


class AnswerSelectionSchema(Schema):
    """`question`, `candidates` (2 to 256 different texts) and `answer`: the right one's place from 0, or its text.

    All rows of one question share a side.
    """

    kind = "answer_selection"
    columns = ("question", "candidates", "answer")
    outputs = frozenset({"answer"})
    inputs = ("question", "candidates", "answer")
    texts = inputs

    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        names = spec.data.fields
        question = clean_text(required(row, "question", names), "question")
        given = required(row, "candidates", names)
        candidates = clean_texts(given, "candidates", 2, MAX_CANDIDATES)
        _check_different(candidates)
        answer = _place(_answer(row), candidates)
        content = row_id(self.kind, question, str(answer), *candidates)
        stored = {"question": question, "candidates": candidates, "answer": answer}
        return ParsedRow(content, loosened(question), stored)

    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """A correction is the text of the right candidate."""
        return {"question": given.get("question"), "candidates": given.get("candidates"), "answer": correction}

    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        candidates = fields["candidates"]
        return {
            "characters": len(fields["question"]) + sum(map(len, candidates)),
            "candidates": len(candidates),
        }


def _answer(row: Mapping[str, Any]) -> Any:
    found = row.get("answer")
    if found is None:
        raise RowError(Reason.MISSING_FIELD, "answer", "answer is missing: the right candidate's place, or its text")
    return found


def _check_different(candidates: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for position, candidate in enumerate(candidates):
        before = seen.setdefault(candidate, position)
        if before != position:
            message = f"candidates[{position}] is the same text as candidates[{before}]"
            raise RowError(Reason.DUPLICATE_VALUE, f"candidates[{position}]", message)


def _place(answer: Any, candidates: Sequence[str]) -> int:
    if isinstance(answer, str):
        text = clean_text(answer, "answer")
        if text not in candidates:
            message = f"answer {quoted(text)} is none of the {len(candidates)} candidates"
            raise RowError(Reason.UNKNOWN_ANSWER, "answer", message)
        return list(candidates).index(text)
    if isinstance(answer, bool) or not isinstance(answer, int | float) or answer != answer // 1:
        message = f"answer must be a whole number or a candidate's text, not {type_name(answer)}"
        raise RowError(Reason.WRONG_TYPE, "answer", message)
    if not 0 <= answer < len(candidates):
        message = f"answer is {quoted(str(int(answer)))}; there are {len(candidates)} candidates, from 0"
        raise RowError(Reason.OUT_OF_RANGE, "answer", message)
    return int(answer)
