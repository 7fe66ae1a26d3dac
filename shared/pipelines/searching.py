"""A search for better settings: which keys of the pipeline are tried, in which ranges, and what is compared."""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

RANGE = re.compile(r"(?P<log>log:)?(?P<low>[-+.\deE]+?)\.\.(?P<high>[-+.\deE]+)")
Plain = int | float | bool | str


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones when both are ints; `log`: drawn by their logarithm."""

    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Plain, ...]


class SearchPlan(BaseModel):
    """What `flywheel search` does; a pipeline file may hold one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    space: dict[str, str | list[Plain]] = Field(
        default_factory=dict,
        description="Key of the pipeline: what is tried, as low..high, log:low..high or a list of values.",
    )
    trials: int = Field(20, ge=1, le=1000, description="So many settings are tried.")
    metric: str = Field("loss", description="Metric of the validation split that is compared.")
    pruning: bool = Field(True, description="Stop a trial that falls behind earlier ones (asynchronous halving, ASHA).")
    parallel: int = Field(1, ge=1, le=64, description="Trials that are chosen and run at the same time.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of the choices; the same one tries the same settings.")

    @model_validator(mode="after")
    def _space_can_be_read(self) -> "SearchPlan":
        self.dimensions()
        return self

    def dimensions(self) -> dict[str, Range | Choice]:
        """The space, by dotted key. Raises ValueError naming the key."""
        return {key: _dimension(key, told) for key, told in sorted(self.space.items())}


def _dimension(key: str, told: str | list[Plain]) -> Range | Choice:
    if isinstance(told, list):
        if len(told) < 2 or len({(type(value), value) for value in told}) < len(told):
            raise ValueError(f"space.{key}: needs at least two values, none twice")
        return Choice(tuple(told))
    match = RANGE.fullmatch(told.replace(" ", ""))
    try:
        ends = [_number(match[end]) for end in ("low", "high")] if match else []
    except ValueError:
        ends = []
    if match is None or not ends:
        raise ValueError(f"space.{key}: {told!r} should read low..high, log:low..high, or be a list of values")
    low, high, log = *ends, match["log"] is not None
    if not low < high:
        raise ValueError(f"space.{key}: {told!r} goes from {low:g} to {high:g}; the first must be less")
    if log and low <= 0:
        raise ValueError(f"space.{key}: a logarithmic range begins above 0, not at {low:g}")
    return Range(low, high, log)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


State = Literal["waiting", "running", "complete", "pruned", "failed"]
"""Of a trial."""
