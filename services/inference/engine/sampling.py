"""Drawing the next token. A row's result depends on its own logits, request and history alone.

Each request owns a generator and draws one number a token, so the batch around it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from services.inference.engine.constraints import ConstraintState
from services.inference.engine.interface import Sampling

SHORTLIST = 256  # sorting a vocabulary of 49k costs 3 ms a row; the nucleus nearly always fits in this


@dataclass(frozen=True)
class Row:
    """What sampling has to know of one answer: its tokens so far, those forbidden now, what it must follow.

    `logprobs` asks for the log-probability of the token and of so many alternatives.
    """

    sampling: Sampling
    generator: Random
    prompt: Sequence[int]
    generated: Sequence[int]
    forbidden: Sequence[int] = ()
    constraint: ConstraintState | None = None
    logprobs: int | None = None


@dataclass(frozen=True)
class Drawn:
    """A token; its log-probability and the likeliest tokens' (id, log-probability) where they were asked for."""

    token: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


def sample(logits: torch.Tensor, rows: Sequence[Row]) -> list[Drawn | None]:
    """Next tokens from float32 logits (rows, vocabulary), changed in place; None where they are not finite."""
    assert logits.shape[0] == len(rows)
    finite: list[bool] = logits.sum(dim=-1).isfinite().tolist()
    for row, values in zip(rows, logits, strict=True):
        adjust(values, row)
    likeliest: list[int] = logits.argmax(dim=-1).tolist()
    return [
        None if not ok else Drawn(best if row.sampling.temperature == 0 else draw(values, row))
        for ok, best, row, values in zip(finite, likeliest, rows, logits, strict=True)
    ]


def adjust(logits: torch.Tensor, row: Row) -> None:
    """Apply the repetition penalty (CTRL, Keskar et al. 2019) and forbidden tokens to a row, in place."""
    penalty = row.sampling.repetition_penalty
    if penalty != 1.0:
        seen = torch.tensor([*row.prompt, *row.generated], device=logits.device)
        values = logits[seen]
        logits[seen] = torch.where(values < 0, values * penalty, values / penalty)
    if row.forbidden:
        logits[torch.tensor(list(row.forbidden), device=logits.device)] = float("-inf")


def draw(logits: torch.Tensor, row: Row) -> int:
    """Draw by the inverse of the cumulative distribution, after top-k, then top-p, then min-p."""
    sampling = row.sampling
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    point = row.generator.random()
    if not (sampling.top_k or sampling.top_p < 1 or sampling.min_p > 0):
        return _invert(probabilities, point)
    values, ids = _filtered(probabilities, sampling)
    return int(ids[_invert(values, point)])


def _filtered(probabilities: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The kept probabilities, likeliest first, and their token ids."""
    vocabulary = probabilities.shape[0]
    width = min(sampling.top_k or SHORTLIST, vocabulary)
    values, ids = probabilities.topk(width)
    if not sampling.top_k and width < vocabulary and not _ends_within(values, sampling):
        values, ids = probabilities.sort(descending=True)
    keep = torch.ones_like(values, dtype=torch.bool)
    if sampling.top_p < 1:
        total = values.sum() if sampling.top_k else torch.ones(())
        keep &= values.cumsum(0) - values < sampling.top_p * total
    if sampling.min_p > 0:
        keep &= values >= sampling.min_p * values[0]
    keep[0] = True
    return values[keep], ids[keep]


def _ends_within(values: torch.Tensor, sampling: Sampling) -> bool:
    """Whether the cut lies inside this shortlist, so that the rest need not be sorted."""
    return bool(values.sum() >= sampling.top_p) or bool(values[-1] < sampling.min_p * values[0])


def _invert(probabilities: torch.Tensor, point: float) -> int:
    cumulative = probabilities.cumsum(0)
    index = torch.searchsorted(cumulative, cumulative[-1] * point, right=True)
    return min(int(index), probabilities.shape[0] - 1)
