"""Rows of a source under the names that the pipeline's other rows have."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.ingestion.reading.received import Received
from shared.rows import RowError
from shared.rows.paths import MISSING, find


def renamed(rows: Iterable[Received], own: Mapping[str, str], product: Mapping[str, str]) -> Iterator[Received]:
    """Gives fields that this source calls otherwise the names that the pipeline knows.

    `own` and `product` say where our fields are, in the source's rows and in the pipeline's; dots reach inside.
    """
    if not own:
        yield from rows
        return
    for row in rows:
        yield row if isinstance(row.fields, RowError) else row._replace(fields=_moved(row.fields, own, product))


def _moved(fields: Mapping[str, Any], own: Mapping[str, str], product: Mapping[str, str]) -> dict[str, Any]:
    moved = dict(fields)
    values = {field: find(fields, path) for field, path in own.items()}
    for field, path in own.items():
        moved.pop(path, None)
        moved.pop(product.get(field, field), None)
    for field, value in values.items():
        if value is not MISSING:
            moved[product.get(field, field)] = value
    return moved
