"""How much two samples differ, as effect sizes: numbers that do not grow with the number of rows, as p-values do."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

SIZES = ("negligible", "small", "medium", "large")
CLIFF = (0.147, 0.33, 0.474)
"""Romano et al. (2006), Appropriate statistics for ordinal level data."""
CRAMER = (0.1, 0.3, 0.5)
"""Cohen (1988), for two samples."""

Counts = Mapping[str, int]


class Effect(NamedTuple):
    """`size` in words where the literature has bounds for them; empty otherwise."""

    name: str
    value: float
    size: str = ""

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "value": round(self.value, 6), **({"size": self.size} if self.size else {})}


def total_variation(first: Counts, second: Counts) -> Effect:
    """Half the sum of the differences of shares: 0 (equal) to 1 (nothing in common)."""
    one, other = _shares(first), _shares(second)
    distance = sum(abs(one.get(key, 0) - other.get(key, 0)) for key in one.keys() | other.keys()) / 2
    return Effect("total variation distance", distance)


def cramers_v(first: Counts, second: Counts) -> Effect:
    """Strength of the link between sample and category: 0 to 1 (Cramer, 1946)."""
    rows = {key: (first.get(key, 0), second.get(key, 0)) for key in first.keys() | second.keys()}
    totals = [sum(pair[side] for pair in rows.values()) for side in (0, 1)]
    n = sum(totals)
    chi = 0.0
    for pair in rows.values():
        for seen, total in zip(pair, totals, strict=True):
            expected = sum(pair) * total / n if n else 0
            chi += (seen - expected) ** 2 / expected if expected else 0
    value = math.sqrt(chi / n) if n else 0.0
    return Effect("Cramér's V", min(value, 1.0), _size(value, CRAMER))


def cliffs_delta(first: Counts, second: Counts) -> Effect:
    """Of pairs of one row each, the share where the second's bucket is greater less that where it is smaller: -1 to 1
    (Cliff, 1993)."""
    pairs = sum(first.values()) * sum(second.values())
    below, value = 0, 0
    all_of_first = sum(first.values())
    for bucket in sorted({*map(int, first), *map(int, second)}):
        here, there = first.get(str(bucket), 0), second.get(str(bucket), 0)
        value += there * (below - (all_of_first - below - here))
        below += here
    delta = value / pairs if pairs else 0.0
    return Effect("Cliff's delta", delta, _size(abs(delta), CLIFF))


def jensen_shannon(first: Counts, second: Counts) -> Effect:
    """Divergence in bits: 0 (equal) to 1 (nothing in common) (Lin, 1991)."""
    return Effect("Jensen-Shannon divergence", max(0.0, sum(contributions(first, second).values())))


def contributions(first: Counts, second: Counts) -> dict[str, float]:
    """What each category adds to the Jensen-Shannon divergence, in bits."""
    one, other = _shares(first), _shares(second)
    return {key: _part(one.get(key, 0.0), other.get(key, 0.0)) for key in one.keys() | other.keys()}


def _part(p: float, q: float) -> float:
    middle = (p + q) / 2
    return sum(share / 2 * math.log2(share / middle) for share in (p, q) if share)


def _shares(counts: Counts) -> dict[str, float]:
    total = sum(counts.values())
    return {key: count / total for key, count in counts.items()} if total else {}


def _size(value: float, bounds: tuple[float, ...]) -> str:
    return SIZES[sum(value >= bound for bound in bounds)]
