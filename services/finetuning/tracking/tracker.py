"""What a place that keeps experiments is told about a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from services.finetuning.convert import Setting


@dataclass(frozen=True)
class Experiment:
    """A job, as an experiment tracker shows it. It stays one experiment, however many runs it takes."""

    pipeline: str
    job: str
    run: str
    attempt: int
    settings: Mapping[str, Setting]
    """Flat: `method.learning_rate`, `options.prompt`, …"""


@dataclass(frozen=True)
class Point:
    """Numbers at a step, all of the train split or all of the validation split: `train/loss`, `validation/accuracy`."""

    step: int
    time: float
    """Seconds since 1970."""
    values: Mapping[str, float]
    restored: bool = False
    """Measured by an earlier run of the job, and told again by the one that goes on from its checkpoint."""

    @property
    def split(self) -> str:
        return next(iter(self.values)).partition("/")[0]


class Tracker(Protocol):
    """Points come in the order of their steps, those of earlier runs first. Any method may raise."""

    def begin(self, experiment: Experiment) -> None:
        """Before the first point."""

    def point(self, point: Point) -> None:
        """Numbers at a step."""

    def end(self, state: str) -> None:
        """After the last point: succeeded, failed, cancelled or drained."""
