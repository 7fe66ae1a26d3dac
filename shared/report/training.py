"""What a job's training was like: curves, settings, data, rows before and after, and the rows that are most lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shared.client.operations import Job, JobEvent
from shared.report.curves import all_curves, series_of
from shared.report.facts import facts
from shared.report.page import write_page

NOTHING = "–"


@dataclass(frozen=True)
class ShownRow:
    """A validation row: its columns, then what the model made of it."""

    row_id: str
    texts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Training:
    """Ready to be shown; texts are not escaped yet."""

    facts: Sequence[tuple[str, str]]
    settings: Sequence[tuple[str, str]]
    curves: Sequence[Markup]
    shown: Sequence[ShownRow]
    lost: Sequence[tuple[float | None, ShownRow]]
    looked_at: int
    """How many validation examples were compared for `lost`."""


def training_of(events: Sequence[JobEvent]) -> Training | None:
    """From a job's events; None when it never trained. Of a job without a report there are curves and what it began with."""
    report = next((event.detail for event in events if event.kind == "report"), {})
    series = series_of(events)
    if not report and not series:
        return None
    return Training(
        facts(events),
        sorted((name, _text(value)) for name, value in report.get("settings", {}).items()),
        all_curves(series),
        [_before_and_after(row) for row in report.get("shown", ())],
        [(row.get("loss"), _row(row, ())) for row in report.get("lost", ())],
        int(report.get("looked_at", 0)),
    )


def write_training_page(path: Path, job: Job, events: Sequence[JobEvent]) -> Path:
    """One page about one job, however it ended."""
    return write_page(path, "training.html", title=f"{job.pipeline}: {job.id}", job=job, training=training_of(events))


def _before_and_after(given: Mapping[str, Any]) -> ShownRow:
    return _row(given, ("before", "after"))


def _row(given: Mapping[str, Any], looks: Sequence[str]) -> ShownRow:
    texts = [(str(name), str(text)) for name, text in sorted(given.get("columns", {}).items())]
    texts += [(look, _look(given[look])) for look in looks if look in given]
    return ShownRow(str(given.get("row_id", "")), texts)


def _look(look: Mapping[str, Any]) -> str:
    loss = NOTHING if look.get("loss") is None else f"{look['loss']:.4f}"
    return f"{look['answer']}   (loss {loss})" if "answer" in look else f"loss {loss}"


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return f"{value:g}" if isinstance(value, float) else str(value)
