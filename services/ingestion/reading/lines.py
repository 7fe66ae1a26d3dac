"""JSON Lines: bytes in pieces of any size -> rows, with memory for one piece and one row."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import orjson

from services.ingestion.reading.received import RAW_BYTES, Received, check_size
from shared.rows import Reason, RowError

DIGITS = bytes(ord("0") if chr(byte).isdigit() else 32 for byte in range(256))
LONG_NUMBER = b"0" * 19
"""A number of so many digits may not fit 64 bits; the fast decoder makes a double of it."""
OPENINGS = 256
"""A line with more brackets may be nested deeper than the strict decoder goes."""


class _NonFinite(ValueError):
    pass


def _refuse_constant(word: str) -> NoReturn:
    raise _NonFinite(word)


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def read_lines(pieces: Iterable[bytes], limit: int) -> Iterator[Received]:
    """The rows of JSON Lines in UTF-8; blank lines are passed over, a bad one says why.

    A row longer than `limit` bytes is never held whole.
    """
    loads, long_number = orjson.loads, LONG_NUMBER
    for number, (line, size) in enumerate(split_lines(pieces, limit), start=1):
        if size <= limit:
            if not line or line.isspace():
                continue
            if size < OPENINGS:  # as `fields_of`, without a call a row
                try:
                    fields = loads(line)
                except ValueError:
                    fields = None
                if type(fields) is dict and long_number not in line.translate(DIGITS):
                    yield Received(number, fields, line, size)
                    continue
        yield Received(number, fields_of(line, size, limit), line, size)


def split_lines(pieces: Iterable[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    """Lines with their sizes; of a line longer than `limit` only the first bytes come."""
    begun, dropped = b"", 0
    for piece in pieces:
        lines = (begun + piece).split(b"\n")
        begun = lines.pop()
        for line in lines:
            size = len(line) + dropped
            yield (line if size <= limit else line[:RAW_BYTES]), size
            dropped = 0
        if len(begun) + dropped > limit and len(begun) > RAW_BYTES:
            dropped += len(begun) - RAW_BYTES
            begun = begun[:RAW_BYTES]
    yield begun, len(begun) + dropped


def fields_of(line: bytes, size: int, limit: int) -> Mapping[str, Any] | RowError:
    """One JSON object, or why it is none: by the fast decoder where both decoders say the same."""
    if size <= limit and line.count(b"{") + line.count(b"[") < OPENINGS:
        try:
            fields = orjson.loads(line)
        except ValueError:
            fields = None
        if type(fields) is dict and LONG_NUMBER not in line.translate(DIGITS):
            return fields
    return strict_fields(line, size, limit)


def strict_fields(line: bytes, size: int, limit: int) -> Mapping[str, Any] | RowError:
    """The same by the strict decoder alone, which says what is wrong."""
    try:
        check_size(size, limit)
        return _decoded(line)
    except RowError as error:
        return error


def _decoded(line: bytes) -> Mapping[str, Any]:
    try:
        found = DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        message = f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8, or say its encoding"
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
        raise RowError(Reason.NOT_AN_OBJECT, "", 'a row must be a JSON object, such as {"text": "…"}')
    return found
