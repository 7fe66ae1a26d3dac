"""Whoever takes part in a study, and what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.quality.material import Material
from benchmarks.quality.prompting import Writer
from services.evaluation.kinds.base import Outputs


@dataclass(frozen=True)
class Answer:
    """Outputs for the first rows of the test side, in the columns of the kind's JudgedKind."""

    outputs: Outputs
    figures: dict[str, float] = field(default_factory=dict)
    """What it took: `trained_share`, `training_seconds`, …"""


@dataclass(frozen=True)
class Tools:
    """What contenders work with on this machine."""

    bases: Path
    """Where converted base models are kept."""
    work: Path
    """For files that nobody needs afterwards."""
    threads: int
    writer: Callable[[], Writer]
    """The model that is prompted, loaded at the first call."""


@dataclass(frozen=True)
class Contender:
    """One way to answer the rows of a study."""

    name: str
    answer: Callable[[Material, int, Tools], Answer]
    """Of the material, for a seed."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All that decides the answer besides rows, seed and code."""
    seeded: bool = False
    """Whether another seed gives another answer."""
    ours: bool = False
    """Made by the platform's own training."""
