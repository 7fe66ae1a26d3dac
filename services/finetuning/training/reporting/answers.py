"""What a model in training makes of a few rows: its loss on each, and its answer where the kind gives short ones."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from services.finetuning.training.examples.material import Material
from shared.modeling.greedy import Question, answer_greedily, room_for_answers
from shared.modeling.kinds.base import Example, Row, length_limit
from shared.modeling.kinds.classification import Classification, input_of
from shared.modeling.kinds.writing import Writing
from shared.modeling.loading import LoadedModel
from shared.modeling.predict import classify
from shared.pipelines.options import Options

NEW_TOKENS = 24
LONGEST_TEXT = 240
"""Characters of a column, or of an answer, that are shown."""
MOST_COLUMNS = 6


@dataclass(frozen=True)
class RowLoss:
    """Mean loss of a row's predictions."""

    row_id: str
    loss: float


@torch.inference_mode()
def row_losses(material: Material, examples: Sequence[Example], seed: int, deadline: float) -> list[RowLoss]:
    """Of each example alone, in their order, until the deadline (`time.monotonic`).

    torch's generator is left as it was; masks and the like are drawn from `seed`.
    """
    found = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for example in examples:
            if time.monotonic() > deadline:
                break
            batch = material.kind.collate([example], material.pad_id)
            on_device = {name: value.to(material.model.device) for name, value in batch.items()}
            loss = float(material.kind.loss(material.model, on_device)) / max(1, example.weight)
            found.append(RowLoss(example.row_ids[0], loss))
    return found


def answers(material: Material, loaded: LoadedModel, rows: Sequence[Row], seconds: float) -> list[str] | None:
    """In the order of the rows; None for a kind whose answers are no short texts. A large model writes as much as it
    can in that many seconds."""
    kind = material.kind
    if isinstance(kind, Classification):
        return [_labels(loaded, chances) for chances in classify(loaded, [input_of(row) for row in rows])]
    if isinstance(kind, Writing):
        limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
        room, new_tokens = room_for_answers(loaded, limit, NEW_TOKENS)
        tokenizer = loaded.tokenizer
        questions = [Question(kind.asked(tokenizer, row, room), kind.first_written(tokenizer, row)) for row in rows]
        return [shortened(answer) for answer in answer_greedily(loaded, questions, new_tokens, seconds=seconds)]
    return None


def columns(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """What a row says, as short texts by column."""
    given = [(name, row[name]) for name in names if row.get(name) is not None]
    return {name: shortened(_text(value)) for name, value in given[:MOST_COLUMNS]}


def shortened(text: str) -> str:
    """Also without the character that a database refuses."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _labels(loaded: LoadedModel, chances: Sequence[float]) -> str:
    options = Options(**loaded.card.options)
    ranked = sorted(zip(loaded.card.labels, chances, strict=True), key=lambda pair: -pair[1])
    given = [pair for pair in ranked if pair[1] >= options.threshold] if options.multi_label else ranked[:1]
    return shortened(", ".join(f"{label} ({chance:.2f})" for label, chance in given))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, Mapping) and "content" in one for one in value):
        return "\n".join(f"{one.get('role', '')}: {one['content']}" for one in value)
    return json.dumps(value, ensure_ascii=False, default=str)
