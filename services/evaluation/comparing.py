"""The candidate against another model, on the same rows."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from services.evaluation.bootstrap import RESAMPLES, paired_bootstrap, seed_from
from services.evaluation.gate import Compared
from services.evaluation.statistics import Measure
from shared.pipelines.kinds import METRICS, PRIMARY
from shared.pipelines.schema import Comparison


def compare(
    kind: str,
    rule: Comparison | None,
    candidate: dict[str, Measure],
    other: dict[str, Measure],
    inputs: Sequence[str],
) -> tuple[Compared, dict[str, Any]]:
    """What the gate needs, and the same at length for the report. Without a rule: the kind's first metric, at 95 %.

    `inputs` name what is compared (digests); they decide the bootstrap's seed.
    """
    rule = rule or Comparison(metric=PRIMARY[kind])
    first, second = candidate[rule.metric], other[rule.metric]
    interval = paired_bootstrap(
        first,
        second,
        higher_is_better=METRICS[kind][rule.metric] == "higher",
        confidence=rule.confidence,
        seed=seed_from(*inputs, rule.metric),
    )
    rows = len(first.statistics)
    compared = Compared(rule.metric, first.value, second.value, interval.difference, interval.low, rows)
    detail = {**asdict(compared), **asdict(interval), **rule.model_dump(), "resamples": RESAMPLES}
    return compared, {name: finite_or_none(value) for name, value in detail.items()}


def finite_or_none(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
