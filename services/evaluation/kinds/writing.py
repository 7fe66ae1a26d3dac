"""Judging what writes: loss on what should have been written, and answers compared with the reference.

Loss and perplexity cover every test row. Answers are costly, so they are written for a few rows only, the same ones
for every model: the first by row id.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from services.evaluation.frozen import Row
from services.evaluation.kinds import showing
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.statistics import Measure, exponential, ratio
from shared.modeling.greedy import Question, answer_greedily, room_for_answers
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import Example, by_length, length_limit
from shared.modeling.kinds.writing import Writing, token_losses
from shared.modeling.loading import LoadedModel

LOSS_ROWS_AT_ONCE = 8
ANSWERS_AT_ONCE = 16


class JudgedWriting(JudgedKind):
    """Outputs: `loss` (nats summed over the tokens to be written), `tokens`, and `answers` of the first rows."""

    half_precision = True

    @property
    def outputs_format(self) -> str:
        asked = f"answers={self.options.answered_rows} new_tokens={self.options.answer_tokens}"
        languages = f"{self.options.source_language} {self.options.target_language}"
        return f"{self.name}/2 {asked} languages={languages} prompt={self.options.prompt or ''}"

    @abstractmethod
    def inputs(self, row: Row) -> dict[str, str]:
        """What a sample shows of the row beside the reference."""

    @abstractmethod
    def reference(self, row: Row) -> str:
        """What should have been written."""

    @abstractmethod
    def compared(self, rows: Sequence[Row], answers: Sequence[str], references: Sequence[str]) -> dict[str, Measure]:
        """Metrics of answers."""

    @abstractmethod
    def signatures(self, rows: Sequence[Row]) -> dict[str, str]:
        """How libraries computed those, by metric."""

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows) + len(self._answered(rows))

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        kind = find_kind(self.name, self.options)
        assert isinstance(kind, Writing)
        kind.of(loaded.model)
        limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
        examples = kind.encode(loaded.tokenizer, rows, (), limit).examples
        losses = _losses(loaded, kind, examples, step)
        answered = self._answers(loaded, kind, self._answered(rows), limit, step)
        return {"loss": losses, "tokens": [example.weight for example in examples], "answers": answered}

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        loss = ratio(outputs["loss"], outputs["tokens"])
        answered = self._answered(rows)
        references = [self.reference(row) for row in answered]
        return {
            "loss": loss,
            "perplexity": exponential(loss),
            **self.compared(answered, outputs["answers"], references),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        answered = self._answered(rows)
        answers = {role: given["answers"] for role, given in outputs.items()}
        return {
            "answered_rows": len(answered),
            "new_tokens": self.options.answer_tokens,
            "signatures": self.signatures(answered),
            "samples": showing.samples(answered, range(len(answered)), self.inputs, self.reference, answers),
        }

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        return {}

    def _answered(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows[: self.options.answered_rows]

    def _answers(self, loaded: LoadedModel, kind: Writing, rows: Sequence[Row], limit: int, step: Step) -> list[str]:
        room, new_tokens = room_for_answers(loaded, limit, self.options.answer_tokens)
        tokenizer = loaded.tokenizer
        questions = [Question(kind.asked(tokenizer, row, room), kind.first_written(tokenizer, row)) for row in rows]
        given = [""] * len(rows)
        for indices in by_length([len(question.ids) for question in questions], ANSWERS_AT_ONCE):
            replies = answer_greedily(loaded, [questions[index] for index in indices], new_tokens, ANSWERS_AT_ONCE)
            for index, reply in zip(indices, replies, strict=True):
                given[index] = reply
            step(len(indices))
        return given


@torch.inference_mode()
def _losses(loaded: LoadedModel, kind: Writing, examples: Sequence[Example], step: Step) -> list[float]:
    """Loss in nats summed over the learnt tokens of each row."""
    losses = [0.0] * len(examples)
    pad_id = int(loaded.tokenizer.pad_token_id)
    for indices, batch in kind.batches(loaded.model, examples, pad_id, LOSS_ROWS_AT_ONCE):
        sums = token_losses(loaded.model, batch).sum(1, dtype=torch.float64).tolist()
        for index, loss in zip(indices, sums, strict=True):
            losses[index] = loss
        step(len(indices))
    return losses
