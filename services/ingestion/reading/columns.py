"""CoNLL columns: a token a line with its tag in the last column, a blank line between rows."""

import re
from collections.abc import Iterable, Iterator, Sequence

from services.ingestion.reading.received import RAW_BYTES, Received
from services.ingestion.reading.texts import blocks
from shared.rows import Reason, RowError

BETWEEN = re.compile(r"[ \t]+")
"""Not every white space: a token of Chinese text may be an ideographic space."""
TAG = re.compile(r"O|[BIESLUM]-\S+")
DOCUMENT = "-DOCSTART-"
SHARE = 0.95
LOOKED_AT = 200


def read_columns(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """Rows of `tokens` and `tags`; comments and starts of documents are passed over."""
    for first, block, size in blocks(pieces, limit):
        yield from _rows(first, block, size, limit)


def holds_tags(lines: Sequence[str]) -> bool:
    """Nearly every line that is not blank has columns, and a tag in the last one."""
    seen = [line.strip() for line in lines[:LOOKED_AT] if line.strip()]
    seen = [line for line in seen if not line.startswith(("#", DOCUMENT))]
    tagged = sum(1 for line in seen if len(cells := _cells(line)) > 1 and TAG.fullmatch(cells[-1]))
    return bool(seen) and tagged >= SHARE * len(seen)


def _rows(first: int, block: list[bytes], size: int, limit: int) -> Iterator[Received]:
    raw = b"\n".join(block)
    try:
        found = _parsed(first, block, size, limit)
    except RowError as error:
        yield Received(first, error, raw[:RAW_BYTES], size)
        return
    if found:
        tokens, tags = zip(*found, strict=True)
        yield Received(first, {"tokens": list(tokens), "tags": list(tags)}, raw, size)


def _parsed(first: int, block: list[bytes], size: int, limit: int) -> list[tuple[str, str]]:
    """Token and tag of every line. Raises RowError."""
    if size > limit:
        raise RowError(Reason.ROW_TOO_LONG, "", f"the row has {size} bytes; at most {limit} are taken")
    rows: list[list[str]] = []
    for number, line in enumerate(block, first):
        cells = _cells(_text(line, number))
        if cells[0].startswith(DOCUMENT) or (cells[0].startswith("#") and not _is_token(cells)):
            continue
        if len(cells) < 2:
            message = f"line {number} has one column; a token needs a tag, in the last column"
            raise RowError(Reason.MALFORMED_ROW, "", message)
        rows.append(cells)
    numbered = len(rows) > 1 and all(len(cells) > 2 and cells[0] == str(place) for place, cells in enumerate(rows, 1))
    return [(cells[1] if numbered else cells[0], cells[-1]) for cells in rows]


def _is_token(cells: list[str]) -> bool:
    """A number sign may be a token itself."""
    return len(cells) > 1 and TAG.fullmatch(cells[-1]) is not None


def _cells(line: str) -> list[str]:
    line = line.strip(" \t\r")
    return line.split("\t") if "\t" in line else BETWEEN.split(line)


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        message = f"line {number} is not UTF-8; save the file as UTF-8, or say its encoding"
        raise RowError(Reason.BAD_ENCODING, "", message) from None
