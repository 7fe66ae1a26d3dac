"""Rows of a fetched file, under the names that the pipeline knows."""

from collections.abc import Iterator, Mapping
from typing import Any

from services.ingestion.reading.lines import read_lines
from services.ingestion.reading.received import Received
from services.ingestion.remote.progress import CountedFile

CHUNK_BYTES = 1 << 20


def rows_of(file: CountedFile, name: str, header: Mapping[str, Any], limit: int) -> Iterator[Received]:
    """Raises InvalidArgument when it is in no format that rows come in."""
    return read_lines(iter(lambda: file.read(CHUNK_BYTES), b""), limit)
