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
    micro_batch: int | None = None
    """Rows computed at once at most, since memory ran out in a step; None: whole batches."""
    validation_batch: int | None = None
    """The same of a validation."""
    best_score: float | None = None
    """Of the best validation so far by the metric that steers, negated where lower is better; None: no score yet."""
    best_step: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    validations_since_best: int = 0
    ended_early: bool = False
