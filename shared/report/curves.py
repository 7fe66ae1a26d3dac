"""Curves of a training run, from the events of its job."""

from collections.abc import Iterable

from markupsafe import Markup

from shared.client.operations import JobEvent
from shared.report import plots


def training_curves(events: Iterable[JobEvent]) -> Markup:
    """Loss by step on the train split and, where it was measured, on the validation split."""
    series: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        step, loss = event.detail.get("step"), event.detail.get("loss")
        if step is None or loss is None:
            continue
        if event.kind in ("progress", "validation"):
            name = "train" if event.kind == "progress" else "validation"
            series.setdefault(name, []).append((step, loss))
    return Markup(plots.lines(series, "step", "loss"))
