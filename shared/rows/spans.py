"""Places in a text that a row names, counted in characters from 0."""

import unicodedata
from typing import Any, NamedTuple

from shared.rows.base import Reason, RowError
from shared.rows.values import quoted, whole_number

MOST_PLACES = 5


class Span(NamedTuple):
    """Characters `start` to before `end`."""

    start: int
    end: int


def read_span(start: Any, end: Any, given: str, field: str) -> Span:
    """A span of the text as it was given, in its composed form (which is the one that is kept), without blanks at its
    ends. Raises RowError when it lies outside or holds nothing."""
    first, last = whole_number(start, f"{field}.start"), whole_number(end, f"{field}.end")
    if not 0 <= first < last <= len(given):
        message = f"{field} goes from {first} to {last}; the text has characters 0 to {len(given)}, an end comes after"
        raise RowError(Reason.BAD_SPAN, field, message)
    text = given[first:last]
    first, last = first + len(text) - len(text.lstrip()), last - len(text) + len(text.rstrip())
    if first >= last:
        raise RowError(Reason.BAD_SPAN, field, f"{field} holds nothing but blanks")
    return Span(composed_place(given, first), composed_place(given, last))


def composed_place(given: str, place: int) -> int:
    """Where a character of a text is once the text is composed (NFC)."""
    if given.isascii():
        return place
    return len(unicodedata.normalize("NFC", given[:place]))


def find_once(text: str, wanted: str, field: str) -> Span:
    """Where a text occurs. Raises RowError when it does not, or more than once."""
    places = places_of(text, wanted)
    if len(places) != 1:
        where = f"occurs at characters {listed(places)}; say which" if places else "does not occur in the text"
        raise RowError(Reason.NOT_IN_TEXT, field, f"{field} {quoted(wanted)} {where}")
    return Span(places[0], places[0] + len(wanted))


def places_of(text: str, wanted: str) -> list[int]:
    """The first characters of the first few places where it occurs; some may overlap."""
    places: list[int] = []
    place = text.find(wanted)
    while place >= 0 and len(places) <= MOST_PLACES:
        places.append(place)
        place = text.find(wanted, place + 1)
    return places


def listed(places: list[int]) -> str:
    """Places for a message."""
    shown = ", ".join(map(str, places[:MOST_PLACES]))
    return shown + (" and more" if len(places) > MOST_PLACES else "")
