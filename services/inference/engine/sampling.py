"""Drawing the next token. A row's result depends on its own logits, request and history alone.

Each answer owns a generator and draws one number a token, so the batch around it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from services.inference.engine.interface import Sampling
from services.inference.engine.logprobs import token_logprobs
from services.inference.engine.penalties import Row, adjust, adjust_all
from services.inference.engine.selecting import likeliest, top

__all__ = ["Drawn", "Row", "adjust", "draw", "sample"]
SHORTLIST = 64  # sorting a vocabulary of 49k costs 3 ms a row; what the filters keep mostly fits in this
COLDEST = 1e-20  # below it a temperature is 0 in float32


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token; its log-probability and the likeliest tokens' (id, log-probability) where they were asked for."""

    token: int
    logprob: float | None = None
    alternatives: tuple[tuple[int, float], ...] = ()


def sample(logits: torch.Tensor, rows: Sequence[Row]) -> list[Drawn | None]:
    """Next tokens from float32 logits (rows, vocabulary), changed in place.

    None where they are not finite or the row's constraint allows no token. Log-probabilities are of the logits given.
    """
    assert logits.shape[0] == len(rows)
    asked = [place for place, row in enumerate(rows) if row.logprobs is not None]
    raw = _rows(logits, asked)
    if any(rows[at].adjusts or rows[at].constraint is not None for at in asked) and raw is logits:
        raw = logits.clone()
    adjust_all(logits, rows)
    tokens = likeliest(logits)
    drawing = [at for at, row in enumerate(rows) if row.sampling.temperature > 0 and tokens[at] is not None]
    if drawing:
        chosen = draw(logits if len(drawing) == len(rows) else logits[drawing], [rows[at] for at in drawing])
        for at, token in zip(drawing, chosen, strict=True):
            tokens[at] = token
    drawn = [None if token is None else Drawn(token) for token in tokens]
    if asked:
        _note(drawn, raw, asked, [rows[at].logprobs or 0 for at in asked])
    return drawn


def draw(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """Draw from each row by the inverse of its cumulative distribution, after temperature, top-k, top-p, min-p."""
    points = torch.tensor([row.generator.random() for row in rows], device=logits.device)
    temperatures = torch.tensor([max(row.sampling.temperature, COLDEST) for row in rows], device=logits.device)
    probabilities = torch.softmax((logits - logits.amax(dim=-1, keepdim=True)) / temperatures[:, None], dim=-1)
    tokens = [0] * len(rows)
    whole = [at for at, row in enumerate(rows) if not _filters(row.sampling)]
    if whole:
        cumulative = _rows(probabilities, whole).cumsum(dim=-1)
        _place(tokens, whole, _invert(cumulative, cumulative[:, -1:], points[whole]))
    filtered = [at for at, row in enumerate(rows) if _filters(row.sampling)]
    if filtered:
        values, ids = top(_rows(probabilities, filtered), SHORTLIST)
        found, fits = _within(values, ids, [rows[at].sampling for at in filtered], points[filtered])
        _place(tokens, filtered, found)
        for at, fit in zip(filtered, fits.tolist(), strict=True):
            if not fit and values.shape[1] < logits.shape[1]:
                tokens[at] = _draw_wide(probabilities[at], rows[at].sampling, float(points[at]))
    return tokens


def _draw_wide(probabilities: torch.Tensor, sampling: Sampling, point: float) -> int:
    """Draw from a row (vocabulary) whose filters keep more than the shortlist."""
    if sampling.top_k:
        points = torch.tensor([point], device=probabilities.device)
        return int(_within(*top(probabilities[None], sampling.top_k), [sampling], points)[0])
    row = probabilities.cpu().numpy()
    ids = _inside(row, sampling)
    ids = ids[np.argsort(-row[ids], kind="stable")]
    values = row[ids]
    cumulative = values.cumsum()
    keep = values >= sampling.min_p * values[0]
    if sampling.top_p < 1:
        keep &= cumulative - values < sampling.top_p
    count = max(1, int(keep.sum()))
    place = np.searchsorted(cumulative[:count], cumulative[count - 1] * np.float32(point), side="right")
    return int(ids[min(int(place), count - 1)])


def _inside(row: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Places (any order) of all that min-p and top-p may keep, and of not much more, so that little is sorted.

    What lies outside the nucleus sums to 1 - top_p at most, so nothing below that over the vocabulary is inside.
    """
    floor = max(sampling.min_p * float(row.max()), (1 - sampling.top_p) / len(row))
    least = max(floor, 1 / (8 * SHORTLIST))
    places = np.flatnonzero(row >= least)
    while least > floor and row[places].sum() < sampling.top_p:
        least = max(floor, least / 8)
        places = np.flatnonzero(row >= least)
    return places


def _rows(values: torch.Tensor, places: Sequence[int]) -> torch.Tensor:
    return values if len(places) == len(values) else values[places]


def _filters(sampling: Sampling) -> bool:
    return sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0


def _place(tokens: list[int], places: Sequence[int], found: torch.Tensor) -> None:
    for at, token in zip(places, found.tolist(), strict=True):
        tokens[at] = token


def _within(
    values: torch.Tensor, ids: torch.Tensor, samplings: Sequence[Sampling], points: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw from the likeliest probabilities (rows, width), best first, and say whose filters end within them."""
    device, width = values.device, values.shape[1]
    top_k = torch.tensor([sampling.top_k for sampling in samplings], device=device)
    top_p = torch.tensor([sampling.top_p for sampling in samplings], device=device)[:, None]
    min_p = torch.tensor([sampling.min_p for sampling in samplings], device=device)[:, None]
    cumulative = values.cumsum(dim=-1)
    first = torch.where(top_k > 0, top_k, width).clamp(max=width)
    total = torch.where(top_k > 0, cumulative.gather(1, first[:, None] - 1)[:, 0], 1.0)[:, None]
    outside = (top_p < 1) & (cumulative - values >= top_p * total) | (values < min_p * values[:, :1])
    kept = torch.minimum(first, width - outside.sum(dim=-1)).clamp(min=1)
    chosen = _invert(cumulative, cumulative.gather(1, kept[:, None] - 1), points)
    return ids.gather(1, chosen[:, None])[:, 0], torch.where(top_k > 0, top_k <= width, outside[:, -1])


def _invert(cumulative: torch.Tensor, totals: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The first place whose cumulative probability is above the point of the total; never one of probability 0."""
    totals = totals.contiguous()
    found = torch.searchsorted(cumulative, totals * points[:, None], right=True)
    return torch.minimum(found, torch.searchsorted(cumulative, totals))[:, 0]


def _note(drawn: list[Drawn | None], raw: torch.Tensor, asked: Sequence[int], alternatives: Sequence[int]) -> None:
    """Add log-probabilities of the raw logits to the tokens drawn at the rows `asked`."""
    tokens = [0 if (one := drawn[at]) is None else one.token for at in asked]
    for at, count, entry in zip(asked, alternatives, token_logprobs(raw, tokens, max(alternatives)), strict=True):
        if drawn[at] is not None:
            drawn[at] = Drawn(entry.token_id, entry.logprob, entry.alternatives[:count])
