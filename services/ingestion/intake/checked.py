"""What intake hands on: a row that is fit for the dataset, before it is known whether the dataset has it."""

from typing import Any, NamedTuple

from services.ingestion.reading.received import Received


class CheckedRow(NamedTuple):
    """`received` has the product's own fields (for groups, times and official splits) and what to quote of the row
    should it be refused later; `fields` are ours, as they would be stored; `flags` are what rules found."""

    received: Received
    row_id: str
    split_key: str
    fields: dict[str, Any]
    flags: tuple[str, ...] = ()
