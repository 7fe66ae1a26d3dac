"""Checking what a field of a row holds."""

import json
import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from shared.rows.base import Reason, RowError

EXACT_INTEGERS = 2**53
"""Above this a double, which is what protobuf's Struct carries, no longer tells integers apart."""
JSON_TYPES = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def required(row: Mapping[str, Any], field: str, names: Mapping[str, str]) -> Any:
    """A field of ours. Raises RowError (MISSING_FIELD) that names the product's field where it has another name."""
    value = row.get(field)
    if value is None:
        path = names.get(field, field)
        where = f"{field} (the product's {path})" if path != field else field
        raise RowError(Reason.MISSING_FIELD, field, f"{where} is missing")
    return value


def optional_text(row: Mapping[str, Any], field: str) -> str | None:
    """A text of ours; None where there is none, or an empty one. Raises RowError as `clean_text` does."""
    value = row.get(field)
    return None if value is None or value == "" else clean_text(value, field)


def clean_text(value: Any, field: str) -> str:
    """The text in Unicode's composed form (NFC). Raises RowError when it is none, empty, or can't be stored."""
    if not isinstance(value, str):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be text, not {type_name(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            message = f"{field} has half of a surrogate pair at character {error.start + 1}"
            raise RowError(Reason.BAD_CHARACTER, field, message) from None
        value = unicodedata.normalize("NFC", value)
    if "\0" in value:
        raise RowError(Reason.BAD_CHARACTER, field, f"{field} has a NUL at character {value.index(chr(0)) + 1}")
    text: str = value
    if not text or text.isspace():
        raise RowError(Reason.EMPTY_TEXT, field, f"{field} is empty")
    return text


def clean_texts(value: Any, field: str, least: int, most: int) -> list[str]:
    """A list of `least` to `most` texts. Raises RowError, naming the entry that is wrong."""
    if not isinstance(value, list | tuple):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be a list, not {type_name(value)}")
    if not least <= len(value) <= most:
        message = f"{field} has {len(value)} entries; it must have {least} to {most}"
        raise RowError(Reason.WRONG_COUNT, field, message)
    return [clean_text(one, f"{field}[{position}]") for position, one in enumerate(value)]


def clean_label(value: Any, field: str) -> str:
    """A label as text; a whole number is taken as its digits. Raises RowError."""
    if isinstance(value, str | bool) or not isinstance(value, int | float):
        return clean_text(value, field)
    if isinstance(value, float) and not math.isfinite(value):  # an integer may be too large to ask
        raise RowError(Reason.NON_FINITE_NUMBER, field, f"{field} is {value}")
    if value != int(value) or abs(value) > EXACT_INTEGERS:
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be text or a whole number, not {str(value)[:60]}")
    return str(int(value))


def whole_number(value: Any, field: str) -> int:
    """A number without a fraction, however it travels. Raises RowError."""
    whole = value.is_integer() if isinstance(value, float) else isinstance(value, int) and not isinstance(value, bool)
    if not whole:
        given = value if isinstance(value, float) else type_name(value)
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be a whole number, not {given}")
    return int(value)


def a_list(value: Any, field: str) -> list[Any]:
    """Raises RowError for anything but a list."""
    if not isinstance(value, list | tuple):
        raise RowError(Reason.WRONG_TYPE, field, f"{field} must be a list, not {type_name(value)}")
    return list(value)


def from_json(text: str) -> Any:
    """What the text says as JSON; the text itself when it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def type_name(value: Any) -> str:
    """What JSON calls it."""
    return JSON_TYPES.get(type(value), "null" if value is None else type(value).__name__)


def quoted(text: str) -> str:
    """The text in quotes, escaped and cut, fit for a message."""
    return repr(text if len(text) <= 60 else text[:60] + "…")
