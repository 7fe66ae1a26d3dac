"""Answers to questions without a model of language: the words of a text that come nearest to the question's.

After the sliding window of Richardson, Burges and Renshaw, MCTest (EMNLP 2013), section 4.1, for answers that are
spans: the window that holds most of the question's rare words, then what of it the question does not say itself.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
"""A word, or one Chinese character."""
SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]*")


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` of a context."""

    text: str
    start: int


def first_sentence(context: str) -> Span:
    """The beginning of the context up to its first full stop."""
    found = SENTENCE.search(context)
    return _span(context, found.start(), found.end()) if found else Span(context, 0)


class SlidingWindow:
    """Knows from a collection of contexts which words are rare."""

    def __init__(self, contexts: Sequence[str]) -> None:
        self._contexts = len(contexts)
        self._holding = Counter(word for context in contexts for word in _words_of(context))

    def answer(self, question: str, context: str, answer_words: int) -> Span:
        """At most `answer_words` words that the question does not say, of the sentence nearest to it."""
        words = [(match.group().lower(), match.start(), match.end()) for match in TOKEN.finditer(context)]
        if not words:
            return Span(context, 0)
        asked = _words_of(question)
        worth = {word: math.log(1 + self._contexts / (1 + self._holding[word])) for word in asked}
        inside = list(_nearest_sentence(context, words, worth))
        runs = _runs([index for index in inside if words[index][0] not in asked])
        reach = {index: _closeness(index, inside, words, worth) for index in inside}
        best = max((run[:answer_words] for run in runs or [inside]), key=lambda run: _worth(run, reach))
        return _span(context, words[best[0]][1], words[best[-1]][2])


def _words_of(text: str) -> set[str]:
    return {match.group().lower() for match in TOKEN.finditer(text)}


def _worth(run: list[int], reach: Mapping[int, float]) -> float:
    """Longer runs are worth more, but less than in proportion."""
    return sum(reach[index] for index in run) / math.sqrt(len(run))


def _nearest_sentence(context: str, words: list[tuple[str, int, int]], worth: dict[str, float]) -> range:
    """The words of the sentence that shares most with the question."""
    best, place = -1.0, range(len(words))
    for match in SENTENCE.finditer(context):
        held = [index for index, (_, start, _) in enumerate(words) if match.start() <= start < match.end()]
        value = sum(worth.get(word, 0.0) for word in {words[index][0] for index in held})
        if held and value > best:
            best, place = value, range(held[0], held[-1] + 1)
    return place


def _closeness(index: int, inside: list[int], words: list[tuple[str, int, int]], worth: dict[str, float]) -> float:
    return sum(worth.get(words[other][0], 0.0) / (1 + abs(other - index)) for other in inside)


def _runs(indices: list[int]) -> list[list[int]]:
    """Neighbours together."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _span(context: str, start: int, end: int) -> Span:
    text = context[start:end].strip()
    return Span(text, start + context[start:end].index(text) if text else start)
