"""What a report shows beside the metrics: tables, and rows with what was answered to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.evaluation.frozen import Row

Cell = str | int | float | None
TABLE_ROWS = 100
TABLE_TEXT = 200
SAMPLES = 8
SAMPLE_TEXT = 600


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> dict[str, Any]:
    """One of `detail["tables"]`, of texts, numbers and None; beyond a hundred rows the rest is counted in the note."""
    left_out = len(rows) - TABLE_ROWS
    notes = [note] if note else []
    if left_out > 0:
        notes.append(f"{left_out} further rows are left out")
    shown = [[_cut(cell, TABLE_TEXT) for cell in row] for row in rows[:TABLE_ROWS]]
    return {"title": title, "columns": list(columns), "rows": shown, "note": "; ".join(notes)}


def samples(
    rows: Sequence[Row],
    indices: Sequence[int],
    inputs: Callable[[Row], Mapping[str, str]],
    reference: Callable[[Row], str],
    answers: Mapping[str, Sequence[str]],
) -> list[dict[str, Cell]]:
    """`detail["samples"]`: the first eight of the rows named by `indices`, with the answer of each role to it.

    `answers` has, by role (candidate, champion, base), one text a row of `rows`.
    """
    shown = []
    for index in indices[:SAMPLES]:
        row = rows[index]
        texts = {**inputs(row), "reference": reference(row), **{role: given[index] for role, given in answers.items()}}
        shown.append({"row_id": row["row_id"], **{name: _cut(text, SAMPLE_TEXT) for name, text in texts.items()}})
    return shown


def telling(right: Sequence[bool], before: Sequence[bool] | None = None) -> list[int]:
    """Indices of rows worth reading, those first that one model got right and the other did not, then mistakes."""
    then = before or right
    return sorted(range(len(right)), key=lambda index: (right[index] == then[index], right[index], index))


def _cut(cell: Any, most: int) -> Any:
    return cell[:most] + "…" if isinstance(cell, str) and len(cell) > most else cell
