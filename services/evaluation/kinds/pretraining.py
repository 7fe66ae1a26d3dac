"""Judging pretrained models: how well they guess the next token, or masked ones, of texts that they never saw.

Bits per byte are the metric to compare by, because they do not depend on the tokenizer, which each version that is
made from scratch has of its own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from services.evaluation.frozen import Row
from services.evaluation.kinds.base import JudgedKind, Outputs, Step
from services.evaluation.statistics import Measure, exponential, ratio
from shared.modeling.kinds.base import IGNORED, Example, by_length, length_limit
from shared.modeling.kinds.pretraining import Pretraining, outcomes
from shared.modeling.loading import LoadedModel

AT_ONCE = 8
ROWS_AT_ONCE = 64


class JudgedPretraining(JudgedKind):
    """Outputs: `loss` (nats), `tokens` and `right` (guesses made, guesses right), `bytes` (UTF-8, of what was guessed).

    Each document stands alone, so that a row's score hangs on no other; masks are the same for every model with the
    same tokenizer.
    """

    name = "pretraining"
    half_precision = False

    @property
    def outputs_format(self) -> str:
        return f"pretraining/1 {self.options.objective} {self.options.mask_ratio}"

    def work(self, rows: Sequence[Row]) -> int:
        return len(rows)

    def predict(self, loaded: LoadedModel, rows: Sequence[Row], step: Step) -> Outputs:
        kind = Pretraining(self.options)
        outputs: Outputs = {name: [] for name in ("loss", "tokens", "right", "bytes")}
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chunk = rows[start : start + ROWS_AT_ONCE]
            for name, values in _guesses(loaded, kind, chunk).items():
                outputs[name] += values
            step(len(chunk))
        return outputs

    def measures(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, Measure]:
        loss = ratio(outputs["loss"], outputs["tokens"])
        return {
            "bits_per_byte": ratio([nats / math.log(2) for nats in outputs["loss"]], outputs["bytes"]),
            "loss": loss,
            "perplexity": exponential(loss),
            "accuracy": ratio(outputs["right"], outputs["tokens"]),
        }

    def detail(self, rows: Sequence[Row], outputs: Mapping[str, Outputs]) -> dict[str, Any]:
        tokens = sum(outputs["candidate"]["tokens"])
        size = sum(len(row["text"].encode()) for row in rows)
        guessed = "bytes of the texts" if self.options.objective == "causal" else "share of bytes that was masked"
        return {
            "guesses": tokens,
            "bytes": size,
            "signatures": {"bits_per_byte": f"nats / ln 2 / {guessed}, texts one by one"},
        }

    def unknown_classes(self, rows: Sequence[Row], outputs: Outputs) -> dict[str, int]:
        return {}


@torch.inference_mode()
def _guesses(loaded: LoadedModel, kind: Pretraining, rows: Sequence[Row]) -> Outputs:
    """Sums over each row's windows."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    pieces = list(kind.pieces(loaded.tokenizer, rows, limit))
    places = {row["row_id"]: place for place, row in enumerate(rows)}
    sums: Outputs = {name: [0.0] * len(rows) for name in ("loss", "tokens", "right")}
    for indices in by_length([piece.length for piece in pieces], AT_ONCE):
        chosen = [pieces[index] for index in indices]
        batch = kind.judged_batch(chosen, int(loaded.tokenizer.pad_token_id))
        losses, hits = outcomes(loaded.model, {name: value.to(loaded.model.device) for name, value in batch.items()})
        found = zip(chosen, losses.sum(1, dtype=torch.float64).tolist(), hits.sum(1).tolist(), strict=True)
        for piece, loss, right in found:
            place = places[piece.row_ids[0]]
            for name, value in (("loss", loss), ("tokens", piece.weight), ("right", right)):
                sums[name][place] += value
    return {**sums, "bytes": _guessed_bytes(kind, rows, pieces, places)}


def _guessed_bytes(
    kind: Pretraining, rows: Sequence[Row], pieces: Sequence[Example], places: Mapping[str, int]
) -> list[float]:
    """UTF-8 bytes of each text; with masks, in proportion to the tokens that are masked."""
    sizes = [float(len(row["text"].encode())) for row in rows]
    if kind.causal:
        return sizes
    maskable, masked = [0] * len(rows), [0] * len(rows)
    for piece in pieces:
        place = places[piece.row_ids[0]]
        maskable[place] += sum(target != IGNORED for target in piece.targets)
        masked[place] += piece.weight
    return [size * some / max(1, all_) for size, some, all_ in zip(sizes, masked, maskable, strict=True)]
