"""What finds one kind of personal data in a text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """Characters `start` to before `end`; `value` is the same however it was written, and what hashes are made of."""

    start: int
    end: int
    value: str


@dataclass(frozen=True)
class Finder:
    """`hint` is a pattern (RE2) that a text without it holds nothing of the kind; `find` then looks closely."""

    kind: str
    hint: str
    find: Callable[[str], Iterator[Span]]


class Taken:
    """Which characters of a text belong to something that was found."""

    def __init__(self, text: str) -> None:
        self._marks = bytearray(len(text))

    def take(self, start: int, end: int) -> bool:
        """Takes these characters unless one of them is taken."""
        if self._marks.find(1, start, end) >= 0:
            return False
        self._marks[start:end] = b"\1" * (end - start)
        return True


def digits_of(text: str) -> str:
    """Its digits, of whatever script, as 0 to 9."""
    return "".join(str(int(character)) for character in text if character.isdecimal())


def matched(pattern: re.Pattern[str], value: Callable[[str], str | None]) -> Callable[[str], Iterator[Span]]:
    """Finds what the pattern matches and `value` accepts; None refuses a match."""

    def find(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            found = value(match[0])
            if found is not None:
                yield Span(match.start(), match.end(), found)

    return find


def cuts(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    """Ends for a number that begins at `start` and goes on to `end` at most, longest first, none inside a group of
    digits; with the digits up to there."""
    places = [place for place in range(start, end) if text[place].isdecimal()]
    digits = digits_of(text[start:end])
    for length in range(len(places), 0, -1):
        cut = places[length - 1] + 1
        if not text[cut : cut + 1].isdecimal():
            yield cut, digits[:length]
