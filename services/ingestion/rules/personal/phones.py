"""Phone numbers: with their country's code, Chinese mobiles, and those of countries that the pipeline names."""

import re
from collections.abc import Iterator, Sequence
from functools import partial

from services.ingestion.rules.personal.finder import Finder, Span, Taken, cuts, digits_of

HINT = r"\p{Nd}(?:[ \t()./\x{2010}-\x{2015}-]*\p{Nd}){6}"
INTERNATIONAL = re.compile(r"(?<![\d+])(?:[+＋]|00(?=[1-9]))\d(?:[ \t().\-\u2010-\u2015]{0,3}\d){6,16}")
CHINESE_MOBILE = re.compile(r"(?<!\d)(?<!\d[ -])(?:(?:[+＋]|00)?86[ -]?)?[1１][3-9３-９]\d([ -]?)\d{4}\1\d{4}(?!\d)")
CHINA = "86"
LENIENCY = 1
"""Of phonenumbers' matcher: numbers that are valid."""


def phones(regions: Sequence[str]) -> Finder:
    """Numbers of these countries count without their code, too."""
    return Finder("phone", HINT, partial(_find, regions=regions))


def _find(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """None over another; the same number may be written in more than one of these forms."""
    taken = Taken(text)
    for span in _numbers(text, regions):
        if taken.take(span.start, span.end):
            yield span


def _numbers(text: str, regions: Sequence[str]) -> Iterator[Span]:
    for match in CHINESE_MOBILE.finditer(text):
        yield Span(match.start(), match.end(), f"+{CHINA}{digits_of(match[0])[-11:]}")
    for match in INTERNATIONAL.finditer(text):
        for end, digits in cuts(text, match.start(), match.end()):
            number = _valid(f"+{digits.removeprefix('00')}")
            if number:
                yield Span(match.start(), end, number)
                break
    for region in regions:
        yield from _in_national_form(text, region)


def _valid(number: str) -> str | None:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(parsed) else None


def _in_national_form(text: str, region: str) -> Iterator[Span]:
    import phonenumbers

    for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=LENIENCY):
        form = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        yield Span(match.start, match.end, form)
