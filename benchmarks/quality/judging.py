"""Contenders compared: every metric over all seeds, and whether one is surely better than another.

Seeds are averaged before rows are drawn, so that an interval is about rows: a resample scores each seed's answers on
the same rows, and the mean over the seeds counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from services.evaluation.bootstrap import Interval, paired_bootstrap, seed_from
from services.evaluation.statistics import Measure, Table
from shared.pipelines.kinds import METRICS

TWO_SIDED = 0.975
"""Each side of an interval of 95 %."""
RESAMPLES = 5000
SCALES = {"chrf": 100.0, "bleu": 100.0}
"""Metrics that do not run from 0 to 1, and where they end."""
UNBOUNDED = ("loss", "perplexity", "bits_per_byte")


@dataclass(frozen=True)
class Score:
    """A contender by one metric; `low` to `high` holds it with 95 % confidence over rows."""

    value: float
    low: float
    high: float
    rows: int
    by_seed: tuple[float, ...]


def pooled(measures: Sequence[Measure]) -> Measure:
    """The mean of several models' scores on the same rows, as one measure."""
    ends = list(accumulate(measure.statistics.shape[1] for measure in measures))
    places = [slice(end - one.statistics.shape[1], end) for end, one in zip(ends, measures, strict=True)]

    def score_all(total: Table) -> Table:
        scores = [one.score(total[:, place]) for one, place in zip(measures, places, strict=True)]
        averaged: Table = np.mean(scores, axis=0)
        return averaged

    return Measure(np.hstack([measure.statistics for measure in measures]), score_all)


def score(measures: Sequence[Measure]) -> Score:
    """Of the models of all seeds."""
    whole = pooled(measures)
    nothing = Measure(np.zeros((len(whole.statistics), 1)), lambda total: np.zeros(len(total)))
    interval = _bootstrap(whole, nothing, "higher", "alone")
    by_seed = tuple(measure.value for measure in measures)
    return Score(whole.value, interval.low, interval.high, len(whole.statistics), by_seed)


def difference(kind: str, metric: str, first: Sequence[Measure], second: Sequence[Measure]) -> Interval:
    """How much better the first contender is, on the rows that both answered."""
    rows = min(len(measure.statistics) for measure in [*first, *second])
    return _bootstrap(_cut(first, rows), _cut(second, rows), METRICS[kind][metric], metric)


def point(metric: str, value: float) -> float:
    """What counts as one point: a hundredth of the metric's scale or, where it has no upper end, of the value."""
    if metric in UNBOUNDED:
        return abs(value) / 100
    return SCALES.get(metric, 1.0) / 100


def best(scores: Mapping[str, Score], names: Sequence[str], direction: str) -> str:
    """The best of the contenders named."""
    sign = 1.0 if direction == "higher" else -1.0
    return max(names, key=lambda name: sign * scores[name].value)


def _cut(measures: Sequence[Measure], rows: int) -> Measure:
    return pooled([Measure(measure.statistics[:rows], measure.score) for measure in measures])


def _bootstrap(first: Measure, second: Measure, direction: str, what: str) -> Interval:
    return paired_bootstrap(
        first,
        second,
        higher_is_better=direction == "higher",
        confidence=TWO_SIDED,
        seed=seed_from("quality", what),
        resamples=RESAMPLES,
    )
