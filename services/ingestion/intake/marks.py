"""What the product's own fields say about where a row belongs: its group, its official split, its time."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from services.ingestion.clusters.rows import NO_SIDE
from shared.pipelines.dividing import Splits
from shared.rows import MISSING, Reason, RowError, find
from shared.rows.splits import SPLITS
from shared.rows.values import quoted, type_name

NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
}
"""How publishers call the sides."""


class Marks(NamedTuple):
    """A hash of the group (0 for none), the official side as a place in SPLITS, and seconds since 1970 (or any other
    number that grows with time)."""

    group: int = 0
    official: int = NO_SIDE
    time: float = math.nan


UNMARKED = Marks()


def marks_of(fields: Mapping[str, Any], splits: Splits) -> Marks:
    """Reads a product's row. A missing field says nothing. Raises RowError for one that can't be read."""
    return Marks(
        _group(fields, splits.group) if splits.group else 0,
        _official(fields, splits.official) if splits.official else NO_SIDE,
        _time(fields, splits.by_time) if splits.by_time else math.nan,
    )


def _group(fields: Mapping[str, Any], name: str) -> int:
    value = find(fields, name)
    if value is MISSING or value == "":
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as it comes through protobuf's Struct
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(sha256(text.encode(errors="replace")).digest()[:8]) or 1


def _official(fields: Mapping[str, Any], name: str) -> int:
    value = find(fields, name)
    if value is MISSING or value == "":
        return NO_SIDE
    side = NAMES.get(value.strip().casefold()) if isinstance(value, str) else None
    if side is None:
        given = quoted(value) if isinstance(value, str) else type_name(value)
        message = f"{name} is {given}; a split is train, validation (valid, val, dev) or test"
        raise RowError(Reason.WRONG_TYPE, name, message)
    return SPLITS.index(side)


def _time(fields: Mapping[str, Any], name: str) -> float:
    value = find(fields, name)
    if value is MISSING or value == "":
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        given = quoted(value) if isinstance(value, str) else type_name(value)
        message = f"{name} is {given}; a time is a number, or as in 2026-01-31T12:00:00Z"
        raise RowError(Reason.WRONG_TYPE, name, message) from None
