"""What commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns when the output is no terminal, so that ids are not cut."""


@cache
def console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


@cache
def errors() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Dataclasses and times as what JSON knows."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A plain table; columns whose name ends in `#` are numbers, to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        right = column.endswith("#")
        made.add_column(column.rstrip("#"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(text(cell) for cell in row))
    return made


def text(cell: object) -> str:
    """A cell for people: empty for nothing, local time of day, four digits of a score."""
    if cell is None or cell == "":
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime):
        return f"{cell.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)


def clock_time(when: datetime | None) -> str:
    """`14:05:09`, local."""
    return f"{when.astimezone():%H:%M:%S}" if when else "–"


def seconds(value: float | None) -> str:
    """`8 s`, `2 min 05 s`, `1 h 02 min`."""
    if value is None:
        return "–"
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s" if value < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
