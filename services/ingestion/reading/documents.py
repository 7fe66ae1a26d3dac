"""JSON documents: a list of rows, or an object that holds one list of rows; read as they come, never whole."""

import re
from collections.abc import Iterable, Iterator

from services.ingestion.reading.lines import fields_of
from services.ingestion.reading.received import Received
from shared.errors import InvalidArgument

TOKEN = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)


def read_document(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """The rows of the document's list, numbered from 1; a bad one says why.

    Raises InvalidArgument when there is no list, or more than one, or the document is cut.
    """
    cutter, number = _Cutter(limit), 0
    for piece in pieces:
        for row, size in cutter.cut(piece):
            number += 1
            yield Received(number, fields_of(row, size, limit), row, size)
    cutter.finish()


class _Cutter:
    """Follows strings and brackets, and cuts out what stands in the list; keeps one row at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._depth = self._lists = 0
        self._rows_depth = 0
        """How deep the list of rows is: 1 when it is the document, 2 inside an object; 0 outside of it."""
        self._in_string = self._may_begin = False
        self._held, self._row, self._size = b"", b"", 0

    def cut(self, piece: bytes) -> Iterator[tuple[bytes, int]]:
        """The rows that end in this piece, with their sizes; of one that is too long only the first bytes."""
        piece = self._held + piece
        whole = len(piece) - (len(piece) - len(piece.rstrip(b"\\"))) % 2  # an escape is not torn apart
        self._held, piece = piece[whole:], piece[:whole]
        start = 0
        for token in TOKEN.finditer(piece):
            mark, at = token[0], token.start()
            if mark == b'"':
                self._in_string = not self._in_string
                self._may_begin = False
            elif self._in_string or len(mark) > 1:
                continue
            elif mark in b"[{":
                if self._opens_rows(mark, piece[start:at]):
                    start = at + (mark == b"[")
            elif mark in b"]}":
                if self._closes_rows(mark):
                    if found := self._ended(piece[start:at], last=True):
                        yield found
                    start = at + 1
                elif not self._depth:
                    start = at + 1
            elif self._depth == self._rows_depth and self._depth:
                if found := self._ended(piece[start:at]):
                    yield found
                start = at + 1
        self._keep(piece[start:])

    def finish(self) -> None:
        """Raises InvalidArgument unless the document ended, and had a list of rows."""
        if self._depth or self._in_string:
            raise InvalidArgument(
                "the JSON document ends in the middle; it was cut. Send the whole of it", field="chunk"
            )
        if self._row.strip() or self._held:
            raise _no_rows("something else stands after its end")
        if not self._lists:
            raise _no_rows("it has none")

    def _opens_rows(self, mark: bytes, before: bytes) -> bool:
        if not self._depth and (self._lists or (self._row + before).strip()):
            raise _no_rows("something else stands around it")
        self._depth += 1
        inside = self._may_begin and mark == b"{"
        self._may_begin = mark == b"[" and self._depth == 2 and not self._rows_depth
        if not inside and not (mark == b"[" and self._depth == 1):
            return False
        self._lists += 1
        if self._lists > 1:
            raise _no_rows("it has several; leave one")
        self._rows_depth, self._row, self._size = self._depth - inside, b"", 0
        return True

    def _closes_rows(self, mark: bytes) -> bool:
        self._depth -= 1
        self._may_begin = False
        if self._depth < 0 or (self._rows_depth > self._depth and mark != b"]"):
            raise _no_rows("its brackets don't match")
        return self._rows_depth > self._depth

    def _ended(self, end: bytes, last: bool = False) -> tuple[bytes, int] | None:
        """The row; None for the blank after the list's last one."""
        self._keep(end)
        row, size = self._row.strip(), self._size
        self._row, self._size = b"", 0
        if last:
            self._rows_depth = 0
        return None if last and not row else (row, size if size > self._limit else len(row))

    def _keep(self, data: bytes) -> None:
        if not self._rows_depth and self._depth:
            return
        self._size += len(data)
        if len(self._row) <= self._limit:
            self._row += data[: self._limit + 1]


def _no_rows(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"a JSON document must be a list of rows, or an object that holds one list of rows: {why}", field="chunk"
    )
