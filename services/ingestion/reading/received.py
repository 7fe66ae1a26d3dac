"""A row as it came, whatever it came in."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.rows import Reason, RowError

RAW_BYTES = 4096
"""How much of a bad row is kept."""


class Received(NamedTuple):
    """A row as it came: its line or position from 1, its fields or why it has none, and what to quote."""

    line: int
    fields: Mapping[str, Any] | RowError
    raw: bytes | Mapping[str, Any]
    size: int
    """Bytes."""


def check_size(size: int, limit: int) -> None:
    """Raises RowError for a row that is too long."""
    if size > limit:
        raise RowError(Reason.ROW_TOO_LONG, "", f"the row has {size} bytes; at most {limit} are taken")


def raw_text(raw: bytes | Mapping[str, Any]) -> str:
    """The row as received, cut, and fit for a database column."""
    data = raw if isinstance(raw, bytes) else json.dumps(raw, ensure_ascii=False).encode(errors="replace")
    return data[:RAW_BYTES].decode(errors="replace").replace("\0", "\ufffd")
