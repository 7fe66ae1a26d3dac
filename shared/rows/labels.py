"""Labels that a pipeline names."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache

from shared.rows.base import Reason, RowError
from shared.rows.values import quoted


def check_label(label: str, known: Sequence[str] | None, field: str = "label") -> None:
    """Raises RowError naming the nearest label when the pipeline names its labels and this is none of them."""
    if known is not None and label not in known:
        raise RowError(Reason.UNKNOWN_LABEL, field, _unknown(field, label, tuple(known)))


@lru_cache(maxsize=1024)
def _unknown(field: str, label: str, labels: tuple[str, ...]) -> str:
    nearest = get_close_matches(label, labels, n=1, cutoff=0.0)
    known = ", ".join(labels) if len(labels) <= 10 else f"one of {len(labels)} labels"
    return f"{field} {quoted(label)} is unknown; nearest: {nearest[0]!r}; the pipeline has {known}"
