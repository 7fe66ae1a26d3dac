"""Figures about whole datasets that are made of counts: how even the classes are, and which lengths are out of line."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

UNUSUAL = 3.5
"""Modified z-score from which a length is out of line (Iglewicz and Hoaglin, 1993)."""
MAD_TO_SIGMA = 1.4826
MEAN_TO_SIGMA = 1.2533

Weighted = Sequence[tuple[float, int]]


def class_balance(labels: Mapping[str, int]) -> dict[str, Any]:
    """`effective`: the number of equally large classes with the same entropy (Hill number of order 1)."""
    counts = [count for count in labels.values() if count > 0]
    if not counts:
        return {}
    rows = sum(counts)
    entropy = -sum(count / rows * math.log(count / rows) for count in counts)
    return {
        "labels": len(counts),
        "effective": round(math.exp(entropy), 3),
        "largest": max(counts),
        "smallest": min(counts),
        "ratio": round(max(counts) / min(counts), 3),
    }


def outliers(buckets: Mapping[str, int], edge: Callable[[int], int]) -> dict[str, int]:
    """Rows whose length is out of line, by the modified z-score of its logarithm; `edge` gives a bucket's length.

    {"short": rows, "long": rows, "from": least usual length, "to": greatest}; empty where lengths hardly differ.
    """
    points = sorted((math.log1p(edge(int(bucket))), count) for bucket, count in buckets.items())
    middle = _median(points)
    distances = sorted((abs(value - middle), count) for value, count in points)
    sigma = MAD_TO_SIGMA * _median(distances)
    if not sigma:
        sigma = MEAN_TO_SIGMA * sum(value * count for value, count in distances) / sum(count for _, count in points)
    if not sigma:
        return {}
    low, high = middle - UNUSUAL * sigma, middle + UNUSUAL * sigma
    return {
        "short": sum(count for value, count in points if value < low),
        "long": sum(count for value, count in points if value > high),
        "from": max(0, math.ceil(math.expm1(low))),
        "to": math.floor(math.expm1(high)),
    }


def _median(points: Weighted) -> float:
    half, seen = sum(count for _, count in points) / 2, 0
    for value, count in points:
        seen += count
        if seen >= half:
            return value
    return 0.0
