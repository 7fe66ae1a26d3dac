"""Curves of a training run, from the events of its job."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from shared.client.operations import JobEvent
from shared.report import plots

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name (`train/loss`, `validation/accuracy`) -> steps and values."""
LABELS = {
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "tokens_per_second": "tokens a second",
    "macro_f1": "macro F1",
}
FIRST = ("loss", "learning_rate", "tokens_per_second", "gradient_norm")


def training_curves(events: Iterable[JobEvent]) -> Markup:
    """Loss by step on the train split and, where it was measured, on the validation split."""
    return _curve("loss", series_of(events))


def all_curves(series: Series) -> list[Markup]:
    """A plot for the loss, the learning rate, the throughput, and whatever else was measured."""
    names = dict.fromkeys(name.partition("/")[2] for name in series)
    ordered = [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]
    return [_curve(name, series) for name in ordered]


def series_of(events: Iterable[JobEvent]) -> Series:
    """From the report of a run that went to its end; else what the events of all attempts told on the way.

    A step that was taken again after a crash counts as it was the last time, and what a crash undid not at all.
    """
    found: dict[str, dict[float, float]] = {}
    newest = 0.0
    for event in events:
        if event.kind == "report" and "curve" in event.detail:
            curve: dict[str, Any] = event.detail["curve"]
            return {
                name: [(step, value) for step, value in points if value is not None] for name, points in curve.items()
            }
        step = event.detail.get("step")
        if event.kind == "progress" and step is not None:
            if step < newest:
                found = {name: {at: one for at, one in points.items() if at < step} for name, points in found.items()}
            newest = step
            _note(found, "train", step, {name: event.detail.get(name) for name in FIRST})
        elif event.kind == "validation" and step is not None:
            metrics = event.detail.get("metrics") or {"loss": event.detail.get("loss")}
            _note(found, "validation", step, metrics)
    return {name: sorted(points.items()) for name, points in found.items()}


def _note(found: dict[str, dict[float, float]], split: str, step: float, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, int | float):
            found.setdefault(f"{split}/{name}", {})[step] = value


def _curve(name: str, series: Series) -> Markup:
    """One line a split."""
    lines = {split: series[f"{split}/{name}"] for split in ("train", "validation") if f"{split}/{name}" in series}
    return Markup(plots.lines(lines, "step", LABELS.get(name, name)))
