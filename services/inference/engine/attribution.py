"""Which words spoke for a label: integrated gradients (Sundararajan et al. 2017) on the word embeddings."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Encoding as Pieces
from torch import Tensor
from transformers import PreTrainedModel

from services.inference.engine.batcher import Runs
from services.inference.engine.tokenising import TYPES, TextEncoder
from shared.errors import DeadlineExceeded

STEPS = 32
STEPS_AT_ONCE = 8


@dataclass(frozen=True)
class Piece:
    """A word as it stands in the text, its characters, and what it contributed; `in_pair`: in the second text."""

    text: str
    start: int
    end: int
    score: float
    in_pair: bool = False


class Explainer:
    """Explains one text after another, so that other work on the compute thread goes between."""

    def __init__(self, model: PreTrainedModel, texts: TextEncoder, compute: Runs) -> None:
        self._model = model
        self._texts = texts
        self._compute = compute

    def explain(self, text: str | tuple[str, str], label: int, deadline: float) -> list[Piece]:
        """Words in the order of the text; the absolute values of their scores sum to 1, unless all are 0."""
        if time.monotonic() >= deadline:
            raise DeadlineExceeded("the deadline passed while texts were being explained")
        (pieces,) = self._texts.pieces([text])
        scores, _ = self._compute.run(lambda: self._attribute(pieces, label))
        return words_of((text,) if isinstance(text, str) else text, pieces, scores)

    def attribute(self, text: str | tuple[str, str], label: int) -> tuple[list[float], float]:
        """One score a token, not normalised, and what they should sum to: the label's logit less the baseline's."""
        (pieces,) = self._texts.pieces([text])
        found: tuple[list[float], float] = self._compute.run(lambda: self._attribute(pieces, label))
        return found

    def _attribute(self, pieces: Pieces, label: int) -> tuple[list[float], float]:
        from captum.attr import IntegratedGradients

        device = self._model.device
        ids = torch.tensor([pieces.ids], device=device)
        special = torch.tensor([pieces.special_tokens_mask], device=device, dtype=torch.bool)
        pad_id = int(self._model.config.pad_token_id or 0)
        table = self._model.get_input_embeddings()
        with torch.no_grad():
            embedded = table(ids).float()
            baseline = table(ids.masked_fill(~special, pad_id)).float()
        logit = self._logit_of(label, self._texts.of(pieces).types)
        with torch.enable_grad():
            found, delta = IntegratedGradients(logit).attribute(
                embedded,
                baselines=baseline,
                n_steps=STEPS,
                internal_batch_size=STEPS_AT_ONCE,
                return_convergence_delta=True,
            )
        scores = found[0].sum(-1)
        return scores.tolist(), float(scores.sum() - delta[0])

    def _logit_of(self, label: int, types: Sequence[int]) -> Callable[[Tensor], Tensor]:
        model: Any = self._model
        dtype = next(self._model.parameters()).dtype

        def logit(embedded: Tensor) -> Tensor:
            inputs = {"inputs_embeds": embedded.to(dtype)}
            if types:
                inputs[TYPES] = torch.tensor([types], device=embedded.device).expand(len(embedded), -1)
            made: Tensor = model(**inputs).logits[:, label].float()
            return made

        return logit


def words_of(texts: Sequence[str], pieces: Pieces, scores: Sequence[float]) -> list[Piece]:
    """Scores of tokens summed to words and divided by the sum of their absolute values."""
    spans: dict[tuple[int, int], tuple[int, int, float]] = {}
    for which, word, (start, end), score in zip(
        pieces.sequence_ids, pieces.word_ids, pieces.offsets, scores, strict=True
    ):
        if which is None or word is None:
            continue
        first, last, total = spans.get((which, word), (start, end, 0.0))
        spans[which, word] = (min(first, start), max(last, end), total + score)
    norm = sum(abs(score) for _, _, score in spans.values()) or 1.0
    found = []
    for (which, _), (start, end, score) in sorted(spans.items(), key=lambda item: (item[0][0], item[1][0])):
        text = texts[which]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        found.append(Piece(text[start:end], start, end, score / norm, which == 1))
    return found
