"""Reading bytes as ingestion reads a file."""

import tempfile
from pathlib import Path
from typing import Any

from services.ingestion.reading.content import Stream
from services.ingestion.reading.files import Reading, Told
from services.ingestion.reading.received import Received
from shared.rows import RowError

LIMIT = 65_536


def reading_of(data: bytes, piece: int = 1 << 16, limit: int = LIMIT, **told: str) -> Reading:
    pieces = (data[start : start + piece] for start in range(0, len(data), piece))
    folder = Path(tempfile.gettempdir())
    return Reading(Stream(pieces, folder), Told(**told), limit, folder)


def read(data: bytes, piece: int = 1 << 16, limit: int = LIMIT, **told: str) -> list[Received]:
    """Every row of a file that comes in such pieces."""
    return list(reading_of(data, piece, limit, **told))


def good(rows: list[Received]) -> list[Any]:
    """The fields of rows that could be read."""
    return [row.fields for row in rows if not isinstance(row.fields, RowError)]


def bad(rows: list[Received]) -> list[tuple[int, str]]:
    """Line and reason of the others."""
    return [(row.line, str(row.fields.reason)) for row in rows if isinstance(row.fields, RowError)]
