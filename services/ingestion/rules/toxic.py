"""Abuse, found by a list of words. It is no judgement of meaning: it misses what is meant without a listed word, and
finds words that are quoted or meant in fun. So the default is to flag."""

from services.ingestion.rules.toxic_words import PHRASES, STEMS, WORDS

_ENDINGS = "(?:s|es|ed|er|ers|ing|in|y|ier|iest|head|heads|face|wit|wits)?"
_SPACED = r"[\s*_.\-]?"
"""What is put between Chinese characters so that they are not found."""


def pattern() -> str:
    """The list as one pattern for RE2: whole words of Latin letters, Chinese words anywhere."""
    latin = "|".join((*WORDS, *(f"(?:{'|'.join(STEMS)}){_ENDINGS}",)))
    chinese = "|".join(_SPACED.join(phrase) for phrase in PHRASES)
    return rf"(?i)\b(?:{latin})\b|(?:{chinese})"
