"""Where a run is, and what it has to remember of the way there besides weights. Kept in every checkpoint."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Cursor:
    """Fields that came later have defaults, so that older checkpoints can be continued."""

    step: int = 0
    """Steps done."""
    validated_step: int = 0
    """Step after which the last validation ran."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    seconds: float = 0.0
    """Time spent training, over all attempts."""
    rows_log_bytes: int = 0
    curve: dict[str, Any] = field(default_factory=dict)
    """Losses and rates so far; see curve.py."""
    before: list[dict[str, Any]] = field(default_factory=list)
    """What a few rows were to the model before the first step; see report.py."""
