"""CSV and TSV: a header that names the columns, then a record a row; quotes may hold line ends."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from services.ingestion.reading.lines import split_lines
from services.ingestion.reading.quotes import marks_quote
from services.ingestion.reading.received import Received
from shared.errors import InvalidArgument
from shared.rows import Reason, RowError

DELIMITERS = (",", "\t", ";", "|")
SNIFFED = 20
"""Records that are looked at for the delimiter."""
MOST_COLUMNS = 1000
NAME_CHARACTERS = 128
HEAD_BYTES = 64 << 10


class _Open(Exception):
    """A record did not end where it should have, mostly because a quote was not closed."""


class _Lines:
    """Lines of text for the CSV parser: counted, bounded for each record, and taken back when one went wrong."""

    def __init__(self, pieces: Iterable[bytes], limit: int) -> None:
        self._rest, self._limit = split_lines(pieces, limit), limit
        self._back: list[tuple[bytes, int]] = []
        self._record: list[tuple[bytes, int]] = []
        self.number = self.size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Raises _Open when the record that is being read takes too much, or more than there is."""
        found = self._back.pop() if self._back else next(self._rest, None)
        if found is None:
            if self._record:
                raise _Open
            raise StopIteration
        self.number += 1
        self.size += found[1] + bool(self._record)
        self._record.append(found)
        if self.size > self._limit:
            raise _Open
        return found[0].decode(errors="surrogateescape") + "\n"

    def begin(self) -> None:
        """The next line begins a record."""
        self._record, self.size = [], 0

    @property
    def first(self) -> int:
        """Number of the record's first line."""
        return self.number - len(self._record) + 1

    @property
    def raw(self) -> bytes:
        return b"\n".join(line for line, _ in self._record)

    def give_back(self) -> None:
        """All but the record's first line, so that one open quote takes no other row with it."""
        self._back += reversed(self._record[1:])
        self.number -= len(self._record) - 1
        del self._record[1:]
        self.size = self._record[0][1]


def read_table(pieces: Iterable[bytes], limit: int, delimiter: str = "") -> Iterator[Received]:
    """The records as rows of text; an empty cell is a field that is not there.

    Raises InvalidArgument when there is no header.
    """
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    head, pieces = _first_lines(pieces, limit)
    delimiter = delimiter or delimiter_of(head, least=1) or ","
    lines = _Lines(pieces, limit)
    quoting: Literal[0, 3] = (
        csv.QUOTE_NONE if delimiter == "\t" and not marks_quote("".join(head)) else csv.QUOTE_MINIMAL
    )
    records = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    names: list[str] = []
    while True:
        lines.begin()
        error: RowError | None = None
        cells: list[str] = []
        try:
            cells = next(records)
        except StopIteration:
            return
        except _Open:
            lines.give_back()
            error = _not_ended(lines.size, limit)
        except csv.Error as wrong:
            lines.give_back()
            error = RowError(Reason.MALFORMED_ROW, "", f"the record can't be read: {wrong}")
        if not names:
            names = _header(cells, error)
        elif error is not None:
            yield Received(lines.first, error, lines.raw, lines.size)
        elif cells and not (len(cells) == 1 and len(names) > 1 and not cells[0].strip()):
            yield _row(names, cells, lines)


def delimiter_of(lines: Sequence[str], least: int = 2) -> str:
    """What stands between the columns of a table that begins so; empty when it is none, or has too few records."""
    best, most = "", 1
    for delimiter in DELIMITERS:
        try:
            records = [record for record in csv.reader(lines[:SNIFFED], delimiter=delimiter) if record]
        except csv.Error:
            continue
        width = len(records[0]) if records else 0
        others = sum(len(record) != width for record in records)
        if len(records) >= least and others <= len(records) // 4 and width > most and _problem(records[0]) is None:
            best, most = delimiter, width
    return best


def _first_lines(pieces: Iterable[bytes], limit: int) -> tuple[list[str], Iterator[bytes]]:
    """Enough lines to see the delimiter, and all of the pieces again."""
    rest, begun = iter(pieces), b""
    while len(begun) < HEAD_BYTES and (piece := next(rest, None)) is not None:
        begun += piece

    def again() -> Iterator[bytes]:
        yield begun
        yield from rest

    *whole, torn = begun[:HEAD_BYTES].decode(errors="replace").split("\n")
    return ([line + "\n" for line in whole] or [torn]), again()


def _header(cells: Sequence[str], error: RowError | None) -> list[str]:
    problem = error.message if error else _problem(cells)
    if problem:
        raise InvalidArgument(
            f"the first line of a table names its columns, such as text,label; {problem}", field="chunk"
        )
    return [cell.strip().removeprefix("\ufeff") for cell in cells]


def _problem(cells: Sequence[str]) -> str | None:
    """Why these can't be names of columns."""
    names = [cell.strip() for cell in cells]
    if not any(names):
        return "it is blank"
    if len(names) > MOST_COLUMNS:
        return f"it has {len(names)} columns, at most {MOST_COLUMNS} are taken"
    for place, name in enumerate(names, 1):
        if not name or len(name) > NAME_CHARACTERS or not name.isprintable():
            return f"column {place} has no name that could be one"
        if name[0] in "{[" or _is_number(name):
            return f"column {place} is {name[:40]!r}, which looks like data"
    if len(set(names)) < len(names):
        return "a name stands there twice"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(names: Sequence[str], cells: Sequence[str], lines: _Lines) -> Received:
    first, size, raw = lines.first, lines.size, lines.raw
    if len(cells) > len(names):
        message = f"the record has {len(cells)} cells, the header names {len(names)} columns"
        return Received(first, RowError(Reason.WRONG_COUNT, "", message), raw, size)
    fields = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
    if not raw.isascii() and any(not _is_clean(cell) for cell in cells):
        message = "the record has bytes that are not UTF-8; save the file as UTF-8, or say its encoding"
        return Received(first, RowError(Reason.BAD_ENCODING, "", message), raw, size)
    return Received(first, fields, raw, size)


def _is_clean(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_ended(size: int, limit: int) -> RowError:
    if size > limit:
        return RowError(Reason.ROW_TOO_LONG, "", f"the record has {size} bytes; at most {limit} are taken")
    message = f"a quote is opened in this record and not closed within {limit} bytes"
    return RowError(Reason.MALFORMED_ROW, "", message)
