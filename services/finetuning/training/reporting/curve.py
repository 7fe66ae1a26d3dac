"""What a run looked like step by step, told to its supervisor and kept in every checkpoint.

A run that goes on from a checkpoint has the points before it, on whatever machine, and none of those that an earlier
attempt measured after it. So each step is told of once, and a tracker that writes all it hears has the whole run.
"""

import math
import time
from collections.abc import Mapping
from typing import Any

from services.finetuning.training.events import Events

KEPT_STEPS = 2000
"""Points of the train split. A run of more steps has one point for every so many steps, with their mean loss."""
KEPT_VALIDATIONS = 500
SHORT_STEPS, SHORT_VALIDATIONS = 400, 200
"""Points of the short form."""
TOLD_SECONDS = 0.25

Point = tuple[int, float, dict[str, float]]
"""Step, seconds since 1970, values by name (`train/loss`, `validation/accuracy`)."""


class Curve:
    """Points of one run, up to its cursor."""

    def __init__(self, events: Events, total_steps: int, kept: Mapping[str, Any]) -> None:
        """`kept` is what `state` gave to a checkpoint; empty at the beginning."""
        self._events = events
        self._width = max(1, math.ceil(total_steps / KEPT_STEPS))
        self._total_steps = total_steps
        self._points: list[Point] = [(step, at, dict(values)) for step, at, values in kept.get("points", ())]
        self._losses: list[float] = list(kept.get("losses", ()))
        self._untold: list[Point] = []
        self._told_at = -math.inf
        if self._points:
            self._events.send("curve", points=self._points, restored=True)

    def step(self, step: int, loss: float, **values: float) -> None:
        """A step was taken; `values` beside the loss are those of the last step of a point."""
        self._losses.append(loss)
        if len(self._losses) >= self._width or step == self._total_steps:
            mean = math.fsum(self._losses) / len(self._losses)
            self._losses = []
            self._add(step, {"train/loss": mean, **{f"train/{name}": value for name, value in values.items()}})
        if time.monotonic() - self._told_at >= TOLD_SECONDS:
            self.tell()

    def validated(self, step: int, metrics: Mapping[str, float]) -> None:
        """The validation split was scored after `step` steps."""
        self._add(step, {f"validation/{name}": float(value) for name, value in metrics.items()})
        self._thin()

    def tell(self) -> None:
        """Send what was not sent yet."""
        if self._untold:
            self._events.send("curve", points=self._untold)
            self._untold = []
        self._told_at = time.monotonic()

    def state(self) -> dict[str, Any]:
        """For a checkpoint; JSON."""
        return {"points": [list(point) for point in self._points], "losses": list(self._losses)}

    def short(self) -> dict[str, Any]:
        """Both splits as a report shows them: name -> [[step, value], …]."""
        found: dict[str, list[tuple[int, float]]] = {}
        for split, most in (("train", SHORT_STEPS), ("validation", SHORT_VALIDATIONS)):
            points = [point for point in self._points if next(iter(point[2])).startswith(split)]
            for step, _, values in _spread(points, most):
                for name, value in values.items():
                    found.setdefault(name, []).append((step, value))
        return found

    def _add(self, step: int, values: dict[str, float]) -> None:
        point = (step, round(time.time(), 3), values)
        self._points.append(point)
        self._untold.append(point)

    def _thin(self) -> None:
        """Every other validation goes when there are too many to keep; trackers have heard of them."""
        validations = [point for point in self._points if "validation/loss" in point[2]]
        if len(validations) > KEPT_VALIDATIONS:
            gone = {id(point) for point in validations[1:-1:2]}
            self._points = [point for point in self._points if id(point) not in gone]


def _spread(points: list[Point], most: int) -> list[Point]:
    """At most so many of them, evenly, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]
