"""Answers out of a context against the right ones: exact match and F1.

English and the like: SQuAD's rules (Rajpurkar et al. 2016, 2018): lower case, without punctuation and articles, F1 of
shared words. Chinese and the like: CMRC 2018's (Cui et al. 2019): ideographs one by one, other words whole, without
punctuation, F1 of the longest common part. Of several right answers the best fitting counts.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from shared.rows.words import split_words, unspaced_share

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
BY_CHARACTERS = 0.1
"""Share of a context's letters from which on it counts as Chinese."""
SIGNATURE = (
    "SQuAD (lower case, no punctuation, no articles, F1 of words); rows whose context has at least "
    f"{BY_CHARACTERS:.0%} letters of scripts without blanks as CMRC 2018 (by characters, no punctuation, F1 of the "
    "longest common part); the best of several right answers; no answer is right where none is wanted"
)


def by_characters(context: str) -> bool:
    """Whether answers from this context are compared character by character."""
    return unspaced_share(context) >= BY_CHARACTERS


def exact_match(answer: str, right: Sequence[str], characters: bool) -> float:
    """1 or 0; `right` is empty where no answer is right."""
    normalised = _segments if characters else _words
    return float(normalised(answer) in [normalised(one) for one in right or [""]])


def span_f1(answer: str, right: Sequence[str], characters: bool) -> float:
    """0 to 1; `right` is empty where no answer is right."""
    compared = _f1_of_part if characters else _f1_of_words
    normalised = _segments if characters else _words
    return max(compared(normalised(answer), normalised(one)) for one in right or [""])


def _words(text: str) -> list[str]:
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def _segments(text: str) -> list[str]:
    return [word for word in split_words(text.lower()) if not unicodedata.category(word[0]).startswith(("P", "S"))]


def _f1_of_words(answer: Sequence[str], right: Sequence[str]) -> float:
    return _f1(sum((Counter(answer) & Counter(right)).values()), answer, right)


def _f1_of_part(answer: Sequence[str], right: Sequence[str]) -> float:
    return _f1(longest_common_part(answer, right), answer, right)


def _f1(shared: int, answer: Sequence[str], right: Sequence[str]) -> float:
    if not answer or not right:
        return float(answer == right)
    return 2 * shared / (len(answer) + len(right))


def longest_common_part(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run that both have."""
    longest, before = 0, [0] * (len(second) + 1)
    for one in first:
        line = [0]
        for place, other in enumerate(second):
            line.append(before[place] + 1 if one == other else 0)
        longest, before = max(longest, *line), line
    return longest
