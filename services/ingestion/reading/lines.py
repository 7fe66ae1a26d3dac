"""JSON Lines: bytes in pieces of any size -> rows, with memory for one piece and one row."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NoReturn

from services.ingestion.reading.received import RAW_BYTES, Received, check_size
from shared.errors import InvalidArgument
from shared.rows import Reason, RowError

HEAD_BYTES = 512
CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
UTF8_MARK = b"\xef\xbb\xbf"
NOT_LINES = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it first",
    b"PAR1": "a Parquet file; write its rows as JSON Lines",
    b"%PDF": "a PDF; it holds no rows",
}


class _NonFinite(ValueError):
    pass


def _refuse_constant(word: str) -> NoReturn:
    raise _NonFinite(word)


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_lines(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """The rows of a JSON Lines file; blank lines are passed over, a bad one says why.

    A row longer than `limit` bytes is never held whole. Raises InvalidArgument when the file is no text.
    """
    for number, (line, size) in enumerate(split_lines(_text(pieces), limit), start=1):
        if line and not line.isspace():
            yield Received(number, _fields(line, size, limit), line, size)


def split_lines(pieces: Iterable[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    """Lines with their sizes; of a line longer than `limit` only the first bytes come."""
    begun, dropped = b"", 0
    for piece in pieces:
        *lines, begun = (begun + piece).split(b"\n")
        for line in lines:
            size = len(line) + dropped
            yield (line if size <= limit else line[:RAW_BYTES]), size
            dropped = 0
        if len(begun) + dropped > limit and len(begun) > RAW_BYTES:
            dropped += len(begun) - RAW_BYTES
            begun = begun[:RAW_BYTES]
    yield begun, len(begun) + dropped


def _fields(line: bytes, size: int, limit: int) -> Mapping[str, Any] | RowError:
    try:
        check_size(size, limit)
        return _decoded(line)
    except RowError as error:
        return error


def _decoded(line: bytes) -> Mapping[str, Any]:
    try:
        found = DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8"
        raise RowError(Reason.BAD_ENCODING, "", message) from None
    except RecursionError:
        raise RowError(Reason.TOO_DEEP, "", "lists or objects are nested too deeply") from None
    except _NonFinite as error:
        raise RowError(Reason.NON_FINITE_NUMBER, "", f"{error} is no JSON number") from None
    except json.JSONDecodeError as error:
        raise RowError(Reason.MALFORMED_JSON, "", f"{error.msg} at character {error.pos + 1}") from None
    except ValueError as error:
        raise RowError(Reason.MALFORMED_JSON, "", str(error)) from None
    if not isinstance(found, dict):
        raise RowError(Reason.NOT_AN_OBJECT, "", 'a line must be a JSON object, such as {"text": "…"}')
    return found


def _text(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without a byte order mark, once their head looks like text."""
    rest, head = iter(pieces), b""
    while len(head) < HEAD_BYTES and (piece := next(rest, None)) is not None:
        head += piece
    for mark, what in NOT_LINES.items():
        if head.startswith(mark):
            raise InvalidArgument(f"the file is {what}. Rows come as JSON Lines in UTF-8", field="chunk")
    if len(head.translate(None, CONTROLS)) < 0.9 * len(head):
        raise InvalidArgument(
            "the file is no text, or UTF-16: it is full of control bytes. Rows come as JSON Lines in UTF-8",
            field="chunk",
        )
    return chain((head.removeprefix(UTF8_MARK),), rest)
