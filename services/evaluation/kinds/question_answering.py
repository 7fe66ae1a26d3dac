"""Judging answers out of a context: exact match and F1, English by words, Chinese by characters."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from services.evaluation.frozen import Row
from services.evaluation.kinds.answer_overlap import SIGNATURE, by_characters, exact_match, span_f1
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.kinds.showing import samples, table, telling
from services.evaluation.statistics import Measure, mean, ratio
from shared.modeling.kinds.answer_spans import Window, best_answer, context_spans
from shared.modeling.kinds.base import Example, length_limit
from shared.modeling.kinds.question_answering import NO_ANSWER, QuestionAnswering, span_logits, target, window_losses
from shared.modeling.kinds.windows import segments_of
from shared.modeling.loading import LoadedModel
from shared.pipelines.options import Options

ROWS_AT_ONCE = 32
WINDOWS_AT_ONCE = 16


class JudgedQuestionAnswering(JudgedKind):
    """Outputs: `answer` (empty: none), `windows` that were read, and the `loss` (nats) summed over those of them that
    could be `learnt` from."""

    name = "question_answering"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return "question_answering/1"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        outputs: Outputs = {"answer": [], "windows": [], "loss": [], "learnt": []}
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for column, values in _read(loaded, chunk).items():
                outputs[column] += values
            step(len(chunk))
        return outputs

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        scored = _scored(rows, outputs)
        return {
            "f1": mean([f1 for _, f1 in scored]),
            "exact_match": mean([exact for exact, _ in scored]),
            "loss": ratio(outputs["loss"], outputs["learnt"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        right = {role: [exact == 1 for exact, _ in _scored(rows, given)] for role, given in outputs.items()}
        return {
            "tables": [_group_table(rows, outputs["candidate"])],
            "signatures": {"f1": SIGNATURE, "exact_match": SIGNATURE},
            "samples": samples(
                rows,
                telling(right["candidate"], right.get("champion")),
                lambda row: {"question": row["question"], "context": row["context"]},
                lambda row: " | ".join(_right_answers(row)) or "(no answer)",
                {role: [text or "(no answer)" for text in given["answer"]] for role, given in outputs.items()},
            ),
        }

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        return {}


@torch.inference_mode()
def _read(loaded: LoadedModel, rows: Sequence[Row]) -> Outputs:
    """Columns of the outputs, of a few rows; windows are cut as the model was trained with."""
    kind = QuestionAnswering(Options(**loaded.card.options))
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    read = [windows for windows, _ in kind.read(loaded.tokenizer, rows, limit)]
    owners = [number for number, windows in enumerate(read) for _ in windows]
    flat = [window for windows in read for window in windows]
    targets = [target(window, rows[number]["answers"]) for number, window in zip(owners, flat, strict=True)]
    examples = [
        Example(("",), list(window.ids), list(places or NO_ANSWER), 1, segments_of(window, loaded.tokenizer))
        for window, places in zip(flat, targets, strict=True)
    ]
    seen: list[Window | None] = [None] * len(flat)
    losses, learnt = [0.0] * len(rows), [0] * len(rows)
    for indices, batch in kind.batches(loaded.model, examples, int(loaded.tokenizer.pad_token_id), WINDOWS_AT_ONCE):
        logits = span_logits(loaded.model, batch)
        for index, one, loss in zip(indices, logits, window_losses(logits, batch).tolist(), strict=True):
            seen[index] = Window(one[: len(flat[index])].cpu().numpy(), context_spans(flat[index]))
            if targets[index] is not None:
                losses[owners[index]] += loss
                learnt[owners[index]] += 1
    answers = []
    for number, row in enumerate(rows):
        windows = [window for owner, window in zip(owners, seen, strict=True) if owner == number and window is not None]
        answers.append(best_answer(row["context"], windows).text)
    return {"answer": answers, "windows": list(map(len, read)), "loss": losses, "learnt": learnt}


def _scored(rows: Sequence[Row], outputs: Outputs) -> list[tuple[float, float]]:
    """Exact match and F1 of each row."""
    found = []
    for row, answer in zip(rows, outputs["answer"], strict=True):
        right, characters = _right_answers(row), by_characters(row["context"])
        found.append((exact_match(answer, right, characters), span_f1(answer, right, characters)))
    return found


def _right_answers(row: Row) -> list[str]:
    return [answer["text"] for answer in row["answers"]]


def _group_table(rows: Sequence[Row], outputs: Outputs) -> dict[str, Any]:
    scored = _scored(rows, outputs)
    groups = {
        "with an answer": [bool(row["answers"]) for row in rows],
        "without an answer": [not row["answers"] for row in rows],
        "read in one window": [windows == 1 for windows in outputs["windows"]],
        "read in several windows": [windows > 1 for windows in outputs["windows"]],
    }
    lines = []
    for name, members in groups.items():
        chosen = [scores for scores, member in zip(scored, members, strict=True) if member]
        if chosen:
            exact, f1 = (sum(column) / len(chosen) for column in zip(*chosen, strict=True))
            lines.append([name, exact, f1, len(chosen)])
    return table("Questions by sort", ["questions", "exact match", "f1", "rows"], lines)
