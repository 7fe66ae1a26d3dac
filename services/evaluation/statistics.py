"""Metrics as functions of summed statistics of rows, which is what makes them cheap to resample."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
LARGEST_EXPONENT = 700.0
"""Above it exp() overflows a double."""
LEAST_PROBABILITY = 1e-9
"""Taken for the truth where a model gave it none, so that one row can't make the loss infinite."""


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


def surprise(probability: float) -> float:
    """Loss in nats of what a model gave this probability; NaN of NaN."""
    # max() would let a NaN pass for certainty or not, by the order of its arguments.
    return math.nan if math.isnan(probability) else -math.log(max(probability, LEAST_PROBABILITY))


def ratio(sums: Sequence[float], counts: Sequence[float]) -> Measure:
    """Sum of sums over sum of counts, such as a loss by tokens."""
    return Measure(_columns(sums, counts), lambda total: divide(total[:, 0], total[:, 1]))


def exponential(measure: Measure) -> Measure:
    """e to the measure: perplexity from a loss."""
    return Measure(measure.statistics, lambda total: np.exp(np.minimum(measure.score(total), LARGEST_EXPONENT)))


def f1(truth: Sequence[str], guesses: Sequence[str], weighted: bool) -> Measure:
    """Mean F1 over the classes that occur in truth or guesses; `weighted` by how often they occur in truth."""
    return set_f1([{label} for label in truth], [{label} for label in guesses], "weighted" if weighted else "macro")


def set_f1(
    truth: Sequence[Collection[str]], guesses: Sequence[Collection[str]], average: Literal["macro", "micro", "weighted"]
) -> Measure:
    """F1 of rows with any number of classes: the mean over the classes that occur in truth or guesses, plain or
    weighted by how often they occur in truth; or (micro) of all classes counted together."""
    classes = sorted({name for names in (*truth, *guesses) for name in names})
    is_true, is_guess = (
        np.array([[name in names for name in classes] for names in side], dtype=float).reshape(len(side), len(classes))
        for side in (truth, guesses)
    )
    parts = [is_true * is_guess, is_true, is_guess]
    if average == "micro":
        return Measure(np.stack([part.sum(axis=1) for part in parts], axis=1), _micro_f1)
    return Measure(np.hstack(parts), _weighted_f1 if average == "weighted" else _macro_f1)


def _columns(*columns: Sequence[float]) -> Table:
    return np.array(columns, dtype=float).T


def divide(over: Table, under: Table) -> Table:
    result = np.full(over.shape, np.nan)
    np.divide(over, under, out=result, where=under != 0)
    return result


def _class_f1(total: Table) -> tuple[Table, Table]:
    hits, true, guessed = np.split(total, 3, axis=1)
    return divide(2 * hits, true + guessed), true


def _micro_f1(total: Table) -> Table:
    return divide(2 * total[:, 0], total[:, 1] + total[:, 2])


def _macro_f1(total: Table) -> Table:
    scores, _ = _class_f1(total)
    present = np.isfinite(scores)
    return divide(np.where(present, scores, 0.0).sum(axis=1), present.sum(axis=1).astype(float))


def _weighted_f1(total: Table) -> Table:
    scores, true = _class_f1(total)
    return divide((np.nan_to_num(scores) * true).sum(axis=1), true.sum(axis=1))
