"""Judging conversations: loss on what the assistant said, and answers compared with the reference.

Loss and perplexity cover every test row. Answers are costly, so they are generated for a few rows only, the same
ones for every model: the first by row id.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from services.evaluation.frozen import Row
from services.evaluation.kinds import answers
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.statistics import Measure, exponential, mean, ratio
from shared.modeling.kinds.base import IGNORED, by_length, length_limit
from shared.modeling.kinds.chat import Chat
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import generate

LOSS_ROWS_AT_ONCE = 8
ANSWERS_AT_ONCE = 16
SAMPLES = 5


class JudgedChat(JudgedKind):
    """Outputs: `loss` (nats summed over the assistant's tokens), `tokens`, and `answers` of the first rows."""

    name = "chat"
    half_precision = True

    @property
    def outputs_format(self) -> str:
        return f"{self.name}/1 answers={self.options.answered_rows} new_tokens={self.options.answer_tokens}"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows) + len(self._answered(rows))

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        losses, tokens = _losses(loaded, rows, step)
        answered = _answers(loaded, self._answered(rows), self.options.answer_tokens, step)
        return {"loss": losses, "tokens": tokens, "answers": answered}

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        loss = ratio(outputs["loss"], outputs["tokens"])
        references = [_reference(row) for row in self._answered(rows)]
        return {
            "loss": loss,
            "perplexity": exponential(loss),
            "chrf": answers.chrf(outputs["answers"], references),
            "rouge_l": mean(answers.rouge_l(outputs["answers"], references)),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        return {
            "answered_rows": len(self._answered(rows)),
            "new_tokens": self.options.answer_tokens,
            "chrf_signature": answers.chrf_signature(),
            "rouge": answers.ROUGE_SIGNATURE,
            "samples": [
                {
                    "row_id": row["row_id"],
                    "prompt": _prompt(row)[-1]["content"],
                    "reference": _reference(row),
                    **{role: given["answers"][index] for role, given in outputs.items()},
                }
                for index, row in enumerate(self._answered(rows)[:SAMPLES])
            ],
        }

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        return {}

    def _answered(self, rows: Sequence[Row]) -> Sequence[Row]:
        return rows[: self.options.answered_rows]


@torch.inference_mode()
def _losses(loaded: LoadedModel, rows: Sequence[Row], step: Step) -> tuple[list[float], list[int]]:
    """Loss in nats summed over the assistant's tokens of each row, and how many tokens those are."""
    kind = Chat()
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    examples = kind.encode(loaded.tokenizer, rows, (), limit).examples
    losses = [0.0] * len(rows)
    for indices in by_length([len(example.ids) for example in examples], LOSS_ROWS_AT_ONCE):
        batch = kind.collate([examples[index] for index in indices], int(loaded.tokenizer.pad_token_id))
        for index, loss in zip(indices, _row_losses(loaded, batch), strict=True):
            losses[index] = loss
        step(len(indices))
    return losses, [example.weight for example in examples]


def _row_losses(loaded: LoadedModel, batch: dict[str, torch.Tensor]) -> list[float]:
    batch = {name: value.to(loaded.model.device) for name, value in batch.items()}
    following = batch["targets"][:, 1:]
    positions = (following != IGNORED).any(0).nonzero().flatten()
    # Padding is on the right, so causal attention never sees it and needs no mask.
    logits = loaded.model(input_ids=batch["input_ids"], logits_to_keep=positions, use_cache=False).logits
    each = functional.cross_entropy(
        logits.flatten(0, 1).float(),
        following[:, positions].flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    sums: list[float] = each.view(len(following), -1).sum(1, dtype=torch.float64).tolist()
    return sums


def _answers(loaded: LoadedModel, rows: Sequence[Row], new_tokens: int, step: Step) -> list[str]:
    prompts = [_prompt(row) for row in rows]
    given = [""] * len(rows)
    lengths = [sum(len(message["content"]) for message in prompt) for prompt in prompts]
    for indices in by_length(lengths, ANSWERS_AT_ONCE):
        replies = generate(loaded, [prompts[index] for index in indices], new_tokens, ANSWERS_AT_ONCE)
        for index, reply in zip(indices, replies, strict=True):
            given[index] = reply
        step(len(indices))
    return given


def _last_answer(row: Row) -> int:
    return max(index for index, message in enumerate(row["messages"]) if message["role"] == "assistant")


def _prompt(row: Row) -> list[dict[str, Any]]:
    return list(row["messages"][: _last_answer(row)])


def _reference(row: Row) -> str:
    return str(row["messages"][_last_answer(row)]["content"]).strip()
