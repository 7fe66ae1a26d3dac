"""Is one model better than another on the same rows? Paired bootstrap and McNemar's test.

Paired bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile
interval); for models compared on the same examples: Koehn, Statistical Significance Tests for Machine
Translation Evaluation (EMNLP 2004), section 3. McNemar's exact test: Dietterich, Approximate Statistical
Tests for Comparing Supervised Classification Learning Algorithms (1998), section 3.1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from services.evaluation.statistics import Measure, Table

RESAMPLES = 10_000
CELLS_AT_ONCE = 4_000_000
"""Weights held in memory at a time: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """How much better the first model is (worse when negative), whichever way its metric points."""

    difference: float
    low: float
    """The difference is above this with the confidence asked for (one-sided)."""
    high: float
    """The difference is below this with the confidence asked for (one-sided)."""
    better_share: float
    """Share of resamples in which the first model is strictly better."""


def paired_bootstrap(
    first: Measure,
    second: Measure,
    *,
    higher_is_better: bool,
    confidence: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """Resamples the rows, the same ones for both. NaN throughout when a score is not finite.

    Rows with equal statistics are drawn together (multinomial by their count), which is the same distribution
    and cheap for classification, where there are few different rows however many there are.
    """
    assert len(first.statistics) == len(second.statistics) > 0, "paired means the same rows"
    sign = 1.0 if higher_is_better else -1.0
    difference = sign * (first.value - second.value)
    if not np.isfinite(difference):
        return Interval(np.nan, np.nan, np.nan, np.nan)
    width = first.statistics.shape[1]
    sums = _resampled_sums(np.hstack([first.statistics, second.statistics]), seed, resamples)
    differences = np.concatenate(
        [sign * (first.score(chunk[:, :width]) - second.score(chunk[:, width:])) for chunk in sums]
    )
    low, high = np.quantile(differences, [1 - confidence, confidence])
    return Interval(difference, float(low), float(high), float((differences > 0).mean()))


def mcnemar(first_right: Sequence[bool], second_right: Sequence[bool]) -> dict[str, float]:
    """Exact two-sided test that both models err equally often; counts of rows that only one gets right."""
    from scipy.stats import binomtest

    first, second = np.array(first_right, dtype=bool), np.array(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    return {"only_candidate_right": only_first, "only_reference_right": only_second, "p_value": p_value}


def seed_from(*inputs: str) -> int:
    """A seed that the inputs alone decide, so that the same comparison gives the same interval."""
    return int.from_bytes(sha256("\n".join(inputs).encode()).digest()[:8])


def _resampled_sums(statistics: Table, seed: int, resamples: int) -> Iterator[Table]:
    """Sums of the statistics (samples x statistics) over resampled rows, in chunks."""
    distinct, counts = np.unique(statistics, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    rows = len(statistics)
    step = max(1, CELLS_AT_ONCE // len(distinct))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield random.multinomial(rows, counts / rows, size=size).astype(float) @ distinct
