"""The part of an evaluation report that its task kind writes: tables, samples, how metrics were computed.

`tables`: a list of {title, columns, rows, note}; a cell is text, a number or None. `samples`: a list of rows, name ->
text, in which `reference`, `base`, `champion` and `candidate` have a place of their own. `signatures`: metric -> how
it was computed. Numbers come back from a protobuf Struct as floats and keys in any order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROLES = {"reference": "reference", "base": "before: base", "champion": "before: champion", "candidate": "this version"}
NOTHING = "–"


@dataclass(frozen=True)
class ShownTable:
    title: str
    columns: Sequence[tuple[str, bool]]
    """Names, and whether they hold numbers."""
    rows: Sequence[Sequence[str]]
    note: str


@dataclass(frozen=True)
class ShownSample:
    title: str
    texts: Sequence[tuple[str, str]]
    """What it is, and the text: inputs, the reference, then the answers from the oldest model to the newest."""


def tables(detail: Mapping[str, Any]) -> list[ShownTable]:
    """None of a kind that writes none."""
    return [_table(given) for given in detail.get("tables", ())]


def samples(detail: Mapping[str, Any]) -> list[ShownSample]:
    """None of a kind that writes none."""
    return [_sample(given) for given in detail.get("samples", ())]


def signatures(detail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metric and how it was computed, by name."""
    return sorted((str(name), str(text)) for name, text in detail.get("signatures", {}).items())


def _table(given: Mapping[str, Any]) -> ShownTable:
    columns = list(zip(*given["rows"], strict=True)) or [()] * len(given["columns"])
    shown = [_column(cells) for cells in columns]
    numeric = [any(_is_number(cell) for cell in cells) for cells in columns]
    return ShownTable(
        str(given["title"]),
        list(zip(map(str, given["columns"]), numeric, strict=True)),
        list(zip(*shown, strict=True)),
        str(given.get("note", "")),
    )


def _column(cells: Sequence[Any]) -> list[str]:
    """Whole numbers without a point where the column has no others."""
    numbers = [cell for cell in cells if _is_number(cell)]
    form = "{:,.0f}" if all(number == int(number) for number in numbers if number - number == 0) else "{:.4f}"
    return [NOTHING if cell is None else form.format(cell) if _is_number(cell) else str(cell) for cell in cells]


def _sample(given: Mapping[str, Any]) -> ShownSample:
    names = sorted(given.keys() - ROLES.keys() - {"row_id"}) + [name for name in ROLES if name in given]
    texts = [(ROLES.get(name, name), NOTHING if given[name] is None else str(given[name])) for name in names]
    return ShownSample(f"row {str(given.get('row_id', ''))[:12]}", texts)


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)
