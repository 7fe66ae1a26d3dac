"""Choosing among texts: the loss over their scores, and which place the right one takes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from shared.rows.base import loosened


def choice_loss(scores: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the right place (`targets`, rows) under a softmax over each row of `scores` (rows x places),
    summed: ListNet's top-one loss (Cao et al. 2007), InfoNCE (van den Oord et al. 2018) where the scores are
    similarities. A score of -inf is no candidate; smoothing is spread over the candidates."""
    shares = scores.log_softmax(-1)
    loss = -shares.gather(1, targets[:, None]).sum()
    if smoothing:
        real = scores != -torch.inf
        spread = shares.masked_fill(~real, 0.0).sum(1) / real.sum(1)
        loss = (1 - smoothing) * loss - smoothing * spread.sum()
    return loss


def places_of(scores: Tensor, targets: Tensor) -> Tensor:
    """From 1, the place of each row's target among its candidates. A tie is decided against it, and so is NaN."""
    right = scores.gather(1, targets[:, None])
    ahead = ~(right > scores) & (scores != -torch.inf)
    return ahead.sum(1)


def rights_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """By loosened query: every text that fits it, whichever row says so."""
    rights: dict[str, set[str]] = {}
    for row in rows:
        rights.setdefault(loosened(row["query"]), set()).update(row["positives"])
    return rights


class Pool:
    """Texts to draw negatives from, in an order that has nothing to do with the rows: by their hashes."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: Sequence[str] = sorted(set(texts), key=lambda text: sha256(text.encode()).digest())

    def draw(self, row_id: str, count: int, without: Collection[str]) -> list[str]:
        """At most `count` texts that are not in `without`; the same ones for the same row and pool."""
        drawn: list[str] = []
        if not self.texts:
            return drawn
        start = int.from_bytes(sha256(row_id.encode()).digest()[:8]) % len(self.texts)
        for step in range(len(self.texts)):
            if len(drawn) == count:
                break
            text = self.texts[(start + step) % len(self.texts)]
            if text not in without:
                drawn.append(text)
        return drawn
