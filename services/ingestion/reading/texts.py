"""Plain text: every line is a row, or every paragraph."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from services.ingestion.reading.lines import split_lines
from services.ingestion.reading.received import RAW_BYTES, Received
from shared.rows import Reason, RowError


def read_text(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """Lines that are not blank, as `text`."""
    for number, (line, size) in enumerate(split_lines(pieces, limit), start=1):
        if line and not line.isspace():
            yield Received(number, _fields(line, size, limit), line, size)


def read_paragraphs(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """Lines that stand together, as one `text`; blank lines divide them."""
    for first, block, size in blocks(pieces, limit):
        raw = b"\n".join(line.removesuffix(b"\r") for line in block)
        fields = _fields(raw, size, limit)
        yield Received(first, fields, raw[:RAW_BYTES] if isinstance(fields, RowError) else raw, size)


def blocks(pieces: Iterable[bytes], limit: int) -> Iterator[tuple[int, list[bytes], int]]:
    """Lines that stand together, with the number of the first and their size; of too long a block only the begin."""
    block: list[bytes] = []
    first = size = 0
    for number, (line, length) in enumerate(chain(split_lines(pieces, limit), [(b"", 0)]), start=1):
        if line and not line.isspace():
            if not block:
                first, size = number, -1
            size += length + 1
            if size <= limit or not block:
                block.append(line)
        elif block:
            yield first, block, size
            block = []


def _fields(line: bytes, size: int, limit: int) -> Mapping[str, Any] | RowError:
    if size > limit:
        return RowError(Reason.ROW_TOO_LONG, "", f"the row has {size} bytes; at most {limit} are taken")
    try:
        return {"text": line.decode().strip("\r")}
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} is not UTF-8; save the file as UTF-8, or say its encoding"
        return RowError(Reason.BAD_ENCODING, "", message)
