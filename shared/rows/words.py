"""Texts cut into words, in every script and without a model's tokenizer, so that the words that are tagged in
training are the words that are tagged in service."""

import re
import unicodedata
from functools import lru_cache

Span = tuple[int, int]
ASCII = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")
ALONE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x30FF),  # ideographic signs, kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Scripts that put no blanks between words."""


def word_spans(text: str) -> list[Span]:
    """Characters of the words: runs of letters and digits; a punctuation mark, a symbol, or a letter of a script
    without blanks is a word of its own. Marks (accents, vowel signs) belong to what is before them."""
    if text.isascii():
        return [match.span() for match in ASCII.finditer(text)]
    spans: list[list[int]] = []
    going_on = False
    for place, character in enumerate(text):
        sort = _sort(character)
        if sort == "blank":
            going_on = False
        elif (sort == "mark" and spans and spans[-1][1] == place) or (sort == "letter" and going_on):
            spans[-1][1] = place + 1
        else:
            spans.append([place, place + 1])
            going_on = sort == "letter"
    return [(start, end) for start, end in spans]


def split_words(text: str) -> list[str]:
    """The words themselves."""
    return [text[start:end] for start, end in word_spans(text)]


@lru_cache(maxsize=65_536)
def _sort(character: str) -> str:
    if character.isspace():
        return "blank"
    category = unicodedata.category(character)
    if category in ("Mn", "Mc", "Me", "Cf"):
        return "mark"
    code = ord(character)
    if category[0] in "PS" or category == "Cc" or any(first <= code <= last for first, last in ALONE):
        return "alone"
    return "letter"


def unspaced_share(text: str) -> float:
    """Share of the letters and digits that belong to scripts without blanks; 0 of a text without letters."""
    letters = [character for character in text if character.isalnum()]
    return sum(_sort(letter) == "alone" for letter in letters) / len(letters) if letters else 0.0
