"""Which words the rows of a batch use, and how often: a sketch of bounded size and cost, for comparing versions.

Words are runs of letters and digits, without differences of case; scripts that are written without spaces count by the
character. Behind the first rows of a large batch every sixteenth is counted, with sixteen times the weight; the commonest are kept.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.rows import Schema

UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿฀-๿"
"""Kana, Han and Thai."""
WORD = re.compile(rf"[{UNSPACED}]|[^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)*")
ALL_ROWS = 4096
"""Chunks that begin among so many rows are counted whole; of those behind them one row in SHARE."""
SHARE = 16
KEPT = 1000
LONGEST_WORD = 40
CROWDED = 50_000
"""Words in memory at most; then the rarest half is forgotten."""


class Vocabulary:
    """Counts the words of one batch's rows on one side."""

    def __init__(self) -> None:
        self._rows = 0
        self._weight = 1
        self._tokens = 0
        self._words: Counter[str] = Counter()

    def places(self, rows: int) -> list[int]:
        """Which of the next rows are to be added; all of them are taken for counted."""
        first, self._rows = self._rows, self._rows + rows
        self._weight = 1 if first < ALL_ROWS else SHARE
        step = range(first, self._rows) if first < ALL_ROWS else range(first + -first % SHARE, self._rows, SHARE)
        return [place - first for place in step]

    def add(self, texts: Iterable[str]) -> None:
        """The texts of one row of the places that were named last."""
        for text in texts:
            found = WORD.findall(text.casefold())
            self._tokens += self._weight * len(found)
            for word in found:
                self._words[word[:LONGEST_WORD]] += self._weight
        if len(self._words) > CROWDED:
            self._words = Counter(dict(self._words.most_common(CROWDED // 2)))

    def sketch(self) -> dict[str, Any]:
        """{"tokens": words in all, "words": {the commonest: how often}}; of equally common ones the first by code."""
        ordered = sorted(self._words.items(), key=lambda item: (-item[1], item[0]))
        return {"tokens": self._tokens, "words": dict(ordered[:KEPT])}


def texts_of(schema: Schema, fields: Mapping[str, Any]) -> Iterator[str]:
    """What somebody wrote in a stored row: no labels, no roles."""
    for name in schema.columns:
        if name in schema.texts:
            yield from _strings(fields.get(name))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings(value.get("content", value.get("text")))
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
