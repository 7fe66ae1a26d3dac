"""Whether quotation marks in a tab-separated file quote, or are text: programs write both kinds."""

import csv
import io
from typing import Literal


def marks_quote(head: str) -> bool:
    """Of whole lines that a file begins with.

    They are text when every line has the header's columns as it stands, some mark is where a writer that quotes puts
    none, and no such writer would have written these lines.
    """
    lines = head.replace("\r\n", "\n").removesuffix("\n").split("\n")
    rows = [line.split("\t") for line in lines if line]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return True
    if all(_is_proper(cell) for row in rows for cell in row):
        return True
    try:
        records = list(csv.reader(io.StringIO("\n".join(lines)), delimiter="\t", strict=True))
    except csv.Error:
        return False
    return "\n".join(lines) in (_written(records, csv.QUOTE_MINIMAL), _written(records, csv.QUOTE_ALL))


def _is_proper(cell: str) -> bool:
    """As a writer that quotes leaves a cell of one line."""
    if '"' not in cell:
        return True
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _written(records: list[list[str]], quoting: Literal[0, 1]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting, lineterminator="\n").writerows(records)
    return text.getvalue().removesuffix("\n")
