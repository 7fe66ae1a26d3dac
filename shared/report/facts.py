"""A job's training in a few numbers, for a page or a terminal. Needs no plotting library."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.client.operations import JobEvent

SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def facts(events: Sequence[JobEvent]) -> list[tuple[str, str]]:
    """Data, steps, time and memory, as far as they are known."""
    report = next((event.detail for event in events if event.kind == "report"), {})
    started: Mapping[str, Any] = next((event.detail for event in events if "total_steps" in event.detail), {})
    data = {**started, **report.get("data", {})}
    found = [
        ("base model", report.get("base")),
        ("train rows", _number(data.get("rows"))),
        ("tokens of one pass", _number(data.get("tokens"))),
        ("rows cut to the length limit", _number(data.get("truncated"))),
        ("validation rows", _number(data.get("validation_rows"))),
        ("arithmetic", data.get("precision")),
        ("steps", _number(report.get("steps", started.get("total_steps")))),
        ("time", _seconds(report.get("seconds"))),
        ("memory at most", _bytes(report.get("memory_bytes"))),
        ("device memory at most", _bytes(report.get("device_memory_bytes"))),
        *(
            (f"validation {name}", f"{value:.4f}")
            for name, value in report.get("metrics", {}).items()
            if value is not None
        ),
    ]
    return [(name, value) for name, value in found if value]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f} s"


def _bytes(value: float | None) -> str | None:
    if not value:
        return None
    unit, size = next(((unit, size) for unit, size in SIZES if value >= size), ("bytes", 1))
    return f"{value / size:,.1f} {unit}"
