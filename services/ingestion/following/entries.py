"""Entries of a stream as rows: the field `row` with JSON, or a field of the entry for each field of the row."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.ingestion.reading.lines import fields_of
from services.ingestion.reading.received import Received, check_size
from shared.messaging.streams import Entry
from shared.rows import Reason, RowError

WHOLE_ROW = b"row"


def rows_of(entries: Sequence[Entry], limit: int) -> Iterator[Received]:
    """A row an entry; one that can't be read says why, and is numbered all the same."""
    for position, entry in enumerate(entries, start=1):
        if WHOLE_ROW in entry.fields:
            yield _from_json(position, entry.fields[WHOLE_ROW], limit)
        else:
            yield _from_fields(position, entry.fields, limit)


def unusable(entries: Sequence[Entry], why: str) -> Iterator[Received]:
    """Entries that made the service stumble, for the quarantine."""
    for position, entry in enumerate(entries, start=1):
        error = RowError(Reason.WRONG_TYPE, "", f"entry {entry.id} can't be handled ({why})")
        yield Received(position, error, b" ".join(entry.fields.values()), 0)


def _from_json(position: int, data: bytes, limit: int) -> Received:
    # between tokens a line's end is white space, and in a text JSON does not allow it
    return Received(position, fields_of(data.replace(b"\n", b" "), len(data), limit), data, len(data))


def _from_fields(position: int, fields: Mapping[bytes, bytes], limit: int) -> Received:
    size = sum(len(name) + len(value) for name, value in fields.items())
    raw = b" ".join(name + b"=" + value for name, value in fields.items())
    try:
        check_size(size, limit)
        row: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    except RowError as error:
        return Received(position, error, raw, size)
    except UnicodeDecodeError:
        return Received(position, RowError(Reason.BAD_ENCODING, "", "a field of the entry is not UTF-8"), raw, size)
    return Received(position, row, row, size)
