"""Cells of a table that hold more than text: lists as JSON, and numbers, where our fields are such."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from services.ingestion.reading.received import Received
from shared.rows import RowError

LISTS = frozenset(
    (
        "messages",
        "labels",
        "tokens",
        "tags",
        "entities",
        "answers",
        "candidates",
        "positives",
        "negatives",
        "head",
        "tail",
    )
)
NUMBERS = frozenset(("answer", "head_start", "head_end", "tail_start", "tail_end"))
WHOLE = re.compile(r"-?\d{1,15}")


def typed(rows: Iterator[Received], product: Mapping[str, str]) -> Iterator[Received]:
    """The rows with such cells read; `product` is the product's name of a field by ours. What can't be read stays
    text, and the schema says what is wrong with it."""
    lists = {product.get(name, name) for name in LISTS}
    numbers = {product.get(name, name) for name in NUMBERS}
    both = lists | numbers
    for row in rows:
        if isinstance(row.fields, RowError) or both.isdisjoint(row.fields):
            yield row
        else:
            yield row._replace(fields={name: _value(name, cell, lists, numbers) for name, cell in row.fields.items()})


def _value(name: str, cell: str, lists: set[str], numbers: set[str]) -> Any:
    if name in numbers and WHOLE.fullmatch(cell):
        return int(cell)
    if name in lists and cell.lstrip()[:1] in ("[", "{"):
        try:
            return orjson.loads(cell)
        except ValueError:
            return cell
    return cell
