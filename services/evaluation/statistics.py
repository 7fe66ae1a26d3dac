"""Metrics as functions of summed statistics of rows, which is what makes them cheap to resample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
LARGEST_EXPONENT = 700.0
"""Above it exp() overflows a double."""


@dataclass(frozen=True)
class Measure:
    """One metric of one model: a line of statistics a row, and the score of their sum."""

    statistics: Table
    """Rows x statistics."""
    score: Callable[[Table], Table]
    """Sums (samples x statistics) to scores (samples); NaN where a score is not defined."""

    @property
    def value(self) -> float:
        """The score over all rows."""
        return float(self.score(self.statistics.sum(axis=0, keepdims=True))[0])


def mean(values: Sequence[float] | Table) -> Measure:
    """The plain mean of a value a row."""
    return ratio(list(values), [1.0] * len(values))


def ratio(sums: Sequence[float], counts: Sequence[float]) -> Measure:
    """Sum of sums over sum of counts, such as a loss by tokens."""
    return Measure(_columns(sums, counts), lambda total: _divide(total[:, 0], total[:, 1]))


def exponential(measure: Measure) -> Measure:
    """e to the measure: perplexity from a loss."""
    return Measure(measure.statistics, lambda total: np.exp(np.minimum(measure.score(total), LARGEST_EXPONENT)))


def f1(truth: Sequence[str], guesses: Sequence[str], weighted: bool) -> Measure:
    """Mean F1 over the classes that occur in truth or guesses; `weighted` by how often they occur in truth."""
    classes = sorted({*truth, *guesses})
    is_true = np.array([[label == name for name in classes] for label in truth], dtype=float)
    is_guess = np.array([[label == name for name in classes] for label in guesses], dtype=float)
    return Measure(np.hstack([is_true * is_guess, is_true, is_guess]), _weighted_f1 if weighted else _macro_f1)


def _columns(*columns: Sequence[float]) -> Table:
    return np.array(columns, dtype=float).T


def _divide(over: Table, under: Table) -> Table:
    result = np.full(over.shape, np.nan)
    np.divide(over, under, out=result, where=under != 0)
    return result


def _class_f1(total: Table) -> tuple[Table, Table]:
    hits, true, guessed = np.split(total, 3, axis=1)
    return _divide(2 * hits, true + guessed), true


def _macro_f1(total: Table) -> Table:
    scores, _ = _class_f1(total)
    present = np.isfinite(scores)
    return _divide(np.where(present, scores, 0.0).sum(axis=1), present.sum(axis=1).astype(float))


def _weighted_f1(total: Table) -> Table:
    scores, true = _class_f1(total)
    return _divide((np.nan_to_num(scores) * true).sum(axis=1), true.sum(axis=1))
