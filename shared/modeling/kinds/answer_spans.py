"""Logits of a context's tokens become an answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding as Pieces

MAX_ANSWER_TOKENS = 64


@dataclass(frozen=True)
class Window:
    """What one window of the context gives: `logits` (tokens, 2), `spans` the characters of each token in the
    context, None for a token that is not of the context."""

    logits: NDArray[np.float32]
    spans: Sequence[tuple[int, int] | None]


@dataclass(frozen=True)
class BestAnswer:
    """Words of the context, without blanks at their ends, and where they begin; empty where the context holds no
    answer. `score` and `no_answer` as in `BestSpan`."""

    text: str
    start: int
    score: float
    no_answer: float


@dataclass(frozen=True)
class BestSpan:
    """Characters of the context. `score` is the span's probability among all spans of all windows and no answer,
    `no_answer` that of there being none."""

    start: int
    end: int
    score: float
    no_answer: float


def context_spans(pieces: Pieces) -> list[tuple[int, int] | None]:
    """Characters of the tokens of a question and a window that are of the context."""
    return [
        span if which == 1 and span[1] > span[0] else None
        for which, span in zip(pieces.sequence_ids, pieces.offsets, strict=True)
    ]


def best_answer(context: str, windows: Sequence[Window]) -> BestAnswer:
    """The best span's words, or none where no answer is as likely."""
    best = best_span(windows)
    text = "" if best.no_answer >= best.score else context[best.start : best.end]
    start = best.start + len(text) - len(text.lstrip()) if text else 0
    return BestAnswer(text.strip(), start, best.score, best.no_answer)


def best_span(windows: Sequence[Window], longest: int = MAX_ANSWER_TOKENS) -> BestSpan:
    """The likeliest span of at most `longest` tokens over all windows (Devlin et al. 2019, section 4.3).

    A span's logit is start + end. Windows overlap, so the same span may be seen twice: its best logit counts. No
    answer has the least of the windows' first-token logits: one window without the answer says nothing.
    """
    starts, ends, logits = (
        np.concatenate(parts) for parts in zip(*(_spans(one, longest) for one in windows), strict=True)
    )
    empty = min(float(window.logits[0].sum()) for window in windows)
    if not len(starts):
        return BestSpan(0, 0, 0.0, 1.0)
    places, which = np.unique(np.stack([starts, ends]), axis=1, return_inverse=True)
    best_logits = np.full(places.shape[1] + 1, -np.inf)
    np.maximum.at(best_logits, which.reshape(-1), logits)
    best_logits[-1] = empty
    weights = np.exp(best_logits - best_logits.max())
    shares = weights / weights.sum()
    best = int(shares[:-1].argmax())
    return BestSpan(int(places[0, best]), int(places[1, best]), float(shares[best]), float(shares[-1]))


def _spans(window: Window, longest: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Characters and logits of every span of at most `longest` tokens."""
    inside = np.array([span is not None for span in window.spans])
    places = np.array([span or (0, 0) for span in window.spans], dtype=np.int64).reshape(-1, 2)
    logits = window.logits.astype(np.float64)
    allowed = np.triu(np.outer(inside, inside)) & ~np.triu(np.ones((len(inside), len(inside)), dtype=bool), longest)
    firsts, lasts = allowed.nonzero()
    return places[firsts, 0], places[lasts, 1], logits[firsts, 0] + logits[lasts, 1]
