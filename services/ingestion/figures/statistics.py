"""Figures about rows, kept a batch at a time, so that a dataset version's are a sum and no row is read again.

Lengths are counted in buckets that grow by 5 %: exact up to 32, within 5 % above.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from services.ingestion.figures.balance import class_balance, outliers
from shared.rows.splits import SPLITS
from shared.storage.tables import Batch

Statistics = dict[str, Any]
"""Split -> {"labels": {label: rows}, "lengths": {measure: {"buckets": {bucket: rows}, "sum": n, "max": n}}}."""

MAX_LABELS = 1000
MAX_SOURCES = 1000
OTHERS = OTHER_LABELS = "(others)"
EXACT = 32
GROWTH = 1.05
BINS = 24
"""Of a histogram."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def count_row(statistics: Statistics, split: str, labels: Sequence[str], lengths: Mapping[str, int]) -> None:
    """Adds one row."""
    count_labels(statistics, split, dict.fromkeys(labels, 1))
    for measure, length in lengths.items():
        count_lengths(statistics, split, measure, {length: 1})


def count_labels(statistics: Statistics, split: str, labels: Mapping[str, int]) -> None:
    """Adds rows by label."""
    counted = _of_split(statistics, split)["labels"]
    for label, rows in labels.items():
        _add_label(counted, label, rows)


def count_lengths(statistics: Statistics, split: str, measure: str, lengths: Mapping[int, int]) -> None:
    """Adds rows by length."""
    found = _of_split(statistics, split)["lengths"].setdefault(measure, {"buckets": {}, "sum": 0, "max": 0})
    for length, rows in lengths.items():
        bucket = bucket_of(length)
        found["buckets"][bucket] = found["buckets"].get(bucket, 0) + rows
        found["sum"] += length * rows
    found["max"] = max(found["max"], *lengths, 0)


def summarise(batches: Sequence[Batch]) -> dict[str, Any]:
    """What a dataset version of these batches says about itself."""
    parts = [
        (split, batch.statistics[split])
        for batch in batches
        for split in SPLITS
        if split in batch.statistics and (split != "test" or batch.test_eligible)
    ]
    labels: dict[str, dict[str, int]] = {}
    lengths: dict[str, list[Mapping[str, Any]]] = {}
    for split, part in parts:
        for label, rows in part["labels"].items():
            _add_label(labels.setdefault(split, {}), label, rows)
        for measure, found in part["lengths"].items():
            lengths.setdefault(measure, []).append(found)
    return {
        "labels": labels,
        "lengths": {measure: distribution(found) for measure, found in lengths.items()},
        "class_balance": class_balance(_total(labels.values())),
        "outliers": {measure: _outliers(found) for measure, found in lengths.items()},
        "sources": _commonest(_total({batch.source: batch.accepted} for batch in batches)),
        "batches": len(batches),
        "duplicates": sum(batch.duplicates for batch in batches),
        "near_duplicates": sum(batch.near_duplicates or 0 for batch in batches),
        "conflicts": sum(batch.statistics.get("conflicts", 0) for batch in batches),
        "languages": _total(batch.statistics.get("languages", {}) for batch in batches),
        "rules": _rules(batches),
        "quarantined": sum(batch.quarantined for batch in batches),
        "quarantine_reasons": _total(batch.quarantine_reasons for batch in batches),
    }


def _rules(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    total: dict[tuple[str, str], int] = {}
    for batch in batches:
        for one in batch.rules or ():
            key = one["rule"], one["action"]
            total[key] = total.get(key, 0) + one["rows"]
    return [{"rule": rule, "action": action, "rows": rows} for (rule, action), rows in sorted(total.items())]


def _outliers(found: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return outliers(_total(part["buckets"] for part in found), upper_edge)


def distribution(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, quantiles, greatest and a coarse histogram of lengths that were counted in several places."""
    buckets = _total(part["buckets"] for part in found)
    rows = sum(buckets.values())
    longest = max(part["max"] for part in found)
    ordered = sorted((int(bucket), count) for bucket, count in buckets.items())
    quantiles = {name: min(_quantile(ordered, share * rows), longest) for name, share in QUANTILES.items()}
    mean = round(sum(part["sum"] for part in found) / rows, 2)
    return {"mean": mean, **quantiles, "max": longest, "histogram": _histogram(ordered)}


def _histogram(buckets: Sequence[tuple[int, int]]) -> list[list[int]]:
    """[greatest length, rows] of at most BINS runs of buckets, which are as wide as one another on their scale."""
    first, last = buckets[0][0], buckets[-1][0]
    width = max(1, math.ceil((last - first + 1) / BINS))
    bins: dict[int, int] = {}
    for bucket, rows in buckets:
        edge = min(last, first + ((bucket - first) // width + 1) * width - 1)
        bins[edge] = bins.get(edge, 0) + rows
    return [[upper_edge(edge), rows] for edge, rows in bins.items()]


def _quantile(buckets: Sequence[tuple[int, int]], rank: float) -> int:
    seen = 0
    for bucket, count in buckets:
        seen += count
        if seen >= rank:
            return upper_edge(bucket)
    raise AssertionError("a rank is at most the number of rows")


def _of_split(statistics: Statistics, split: str) -> dict[str, Any]:
    found: dict[str, Any] = statistics.setdefault(split, {"labels": {}, "lengths": {}})
    return found


@lru_cache(maxsize=65_536)
def bucket_of(length: int) -> str:
    """The bucket that a length is counted in."""
    if length <= EXACT:
        return str(length)
    return str(EXACT + math.ceil(math.log(length / EXACT) / math.log(GROWTH)))


def upper_edge(bucket: int) -> int:
    """The greatest length in a bucket."""
    return bucket if bucket <= EXACT else int(EXACT * GROWTH ** (bucket - EXACT))


def _add_label(labels: dict[str, int], label: str, rows: int) -> None:
    name = label if label in labels or len(labels) < MAX_LABELS else OTHER_LABELS
    labels[name] = labels.get(name, 0) + rows


def _commonest(counts: Mapping[str, int]) -> dict[str, int]:
    """The commonest names, and how many rows the others have together."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rest = sum(count for _, count in ordered[MAX_SOURCES:])
    return dict(ordered[:MAX_SOURCES]) | ({OTHERS: rest} if rest else {})


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
