"""What a dry run shows: the first rows as they would be stored, and the first that would not be."""

from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from services.ingestion.intake.intake import Intake
from shared.storage.tables import Batch

SHOWN = 10
"""Of each."""
NOTED = 4096
"""Entries of the journal that are looked through for what rules did to the first rows."""
DONE = ("changed", "masked", "hashed", "flagged")


class PreviewedRow(NamedTuple):
    """`reason` and `message` are empty for a row that would be stored; `rules` says what was done to it."""

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
    done = _done_by_line(intake)
    stored = [
        PreviewedRow(row.line, "accepted", row.split, row.fields, rules=tuple(done.get(row.line, ())))
        for row in next(intake.draft.read(), [])[:SHOWN]
    ]
    unfit = [(row["line"], row["reason"], row["message"]) for row in next(intake.quarantine.chunks(SHOWN), [])]
    unwanted = [(row.line, row.reason, row.message) for row in islice(intake.draft.refused(), SHOWN)]
    refused = [
        PreviewedRow(line, "quarantined", reason=reason, message=message)
        for line, reason, message in islice(merge(unfit, unwanted), SHOWN)
    ]
    return sorted(stored + refused, key=lambda row: row.line)


def _done_by_line(intake: Intake) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    journal = intake.journal.finish()
    if journal is None:
        return found
    with journal:
        for entries in islice(pq.ParquetFile(journal).iter_batches(NOTED), 1):
            for entry in entries.to_pylist():
                if entry["outcome"] in DONE:
                    found.setdefault(entry["line"], []).append(f"{entry['rule']}: {entry['outcome']}")
    return found
