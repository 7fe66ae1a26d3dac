"""Asking a language model for an answer in words, plainly or after examples."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.quality.material import Material, Row
from benchmarks.quality.prompting import Writer, turns


@dataclass(frozen=True)
class Asked:
    """How the rows of a kind are put into words."""

    instruction: str
    question: Callable[[Row], str]
    answer: Callable[[Row], str]
    """Of an example; the form that answers should have."""
    tokens: int
    """At most so many in an answer."""


def ask(asked: Asked, material: Material, writer: Writer, shots: int, seed: int) -> list[str]:
    """An answer to each prompted test row, after `shots` train rows drawn by the seed."""
    drawn = random.Random(seed).sample(material.train, min(shots, len(material.train)))
    shown = [(asked.question(row), asked.answer(row)) for row in drawn]
    rows = material.test[: material.prompted]
    return writer.answers([turns(asked.instruction, shown, asked.question(row)) for row in rows], asked.tokens)
