"""What a dry run found: a table of the first rows as they would be stored, or why not."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.cli.output import console, table

if TYPE_CHECKING:
    from shared.client.data import Batch, PreviewRow

CELL_CHARACTERS = 160


def show_preview(file: Path, batch: "Batch") -> None:
    """Counts of all rows, then some of them."""
    console().print(
        f"{plain(file.name)} is {batch.format} in {batch.encoding}. Of {batch.received:,} rows {batch.accepted:,} would "
        f"be accepted, {batch.duplicates:,} are duplicates, {batch.quarantined:,} would go to quarantine; "
        "nothing was kept"
    )
    splits = batch.splits
    if splits.total:
        console().print(f"  {splits.train:,} train, {splits.validation:,} validation, {splits.test:,} test")
    for rule in batch.rules:
        console().print(f"  {rule.rule}: {rule.rows:,} {rule.action}")
    for reason in batch.quarantine_reasons:
        console().print(f"  {reason.reason}: {reason.rows:,}")
    stored = [row for row in batch.preview if row.outcome == "accepted"]
    refused = [row for row in batch.preview if row.outcome != "accepted"]
    if stored:
        columns = list(dict.fromkeys(name for row in stored for name in row.fields))
        rows = [
            [_line(row), row.split, *(cell(row.fields.get(name)) for name in columns), plain(", ".join(row.rules))]
            for row in stored
        ]
        console().print(table(("line#", "split", *map(plain, columns), "rules"), rows, title="as they would be stored"))
    if refused:
        rows = [[_line(row), row.reason, plain(row.message)] for row in refused]
        console().print(table(("line#", "reason", "what is wrong"), rows, title="would go to quarantine"))


def cell(value: Any) -> str:
    """A field on one line, cut."""
    text = value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)
    return plain(text or "")


def plain(text: str) -> str:
    """Text of a stranger, that changes neither the terminal nor the table."""
    from rich.markup import escape

    cut = text if len(text) <= CELL_CHARACTERS else text[:CELL_CHARACTERS] + "…"
    shown = cut.replace("\n", "⏎")
    return escape("".join(character if character.isprintable() else "\ufffd" for character in shown))


def _line(row: "PreviewRow") -> int | None:
    return row.line or None
