"""What a dry run shows: the first rows as they would be stored, and the first that would not be."""

from typing import Any, NamedTuple

from services.ingestion.intake import Intake
from shared.storage.tables import Batch

SHOWN = 10
"""Of each."""


class PreviewedRow(NamedTuple):
    """`line` is 0 where nobody knows it; `reason` and `message` are empty for a row that would be stored."""

    line: int
    outcome: str
    split: str = ""
    fields: dict[str, Any] | None = None
    reason: str = ""
    message: str = ""
    rules: tuple[str, ...] = ()


class Preview(NamedTuple):
    """A batch that is not kept, and some of its rows."""

    batch: Batch
    rows: list[PreviewedRow]


def first_rows(intake: Intake) -> list[PreviewedRow]:
    """Of an intake that is finished, by their lines."""
    stored = [
        PreviewedRow(
            getattr(row, "line", 0), "accepted", row.split, row.fields, rules=getattr(row, "flags", None) or ()
        )
        for row in next(intake.draft.read(), [])[:SHOWN]
    ]
    refused = [
        PreviewedRow(row["line"], "quarantined", reason=row["reason"], message=row["message"])
        for row in next(intake.quarantine.chunks(SHOWN), [])
    ]
    return sorted(stored + refused, key=lambda row: row.line)
