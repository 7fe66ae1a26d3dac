"""A bad row as people see it in quarantine."""

import json
import re
from collections.abc import Callable

from services.ingestion.reading.received import RAW_BYTES, Received, raw_text
from shared.rows import RowError

ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def quoted_row(row: Received, redacted: Callable[[str], str] | None = None) -> str:
    """The row as received, cut. With `redacted` it is looked through first, as it reads and not as it is escaped."""
    if redacted is None:
        return raw_text(row.raw)
    return raw_text(redacted(_plain(row)).encode(errors="replace"))


def _plain(row: Received) -> str:
    if not isinstance(row.fields, RowError):
        return json.dumps(row.fields, ensure_ascii=False, default=str)
    if not isinstance(row.raw, bytes):
        return json.dumps(row.raw, ensure_ascii=False, default=str)
    text = row.raw[: 2 * RAW_BYTES].decode(errors="replace")
    return ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), text)
