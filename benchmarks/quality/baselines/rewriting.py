"""Texts written without a model: the input itself, its first sentences, or what was written for the nearest one."""

import re
from collections.abc import Sequence

from benchmarks.quality.baselines.retrieving import TfIdf

SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]*")


def first_sentences(text: str, count: int) -> str:
    """The first so many sentences (or lines)."""
    return "".join(SENTENCE.findall(text)[:count]).strip() or text


def from_memory(known: Sequence[tuple[str, str]], asked: Sequence[str]) -> list[str]:
    """For each text the output of the known input that is nearest by words (a translation memory)."""
    nearest = TfIdf([source for source, _ in known]).scores(asked).argmax(1)
    return [known[index][1] for index in nearest]
