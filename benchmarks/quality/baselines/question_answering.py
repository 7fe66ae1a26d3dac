"""Baselines for extractive question answering."""

import math
from functools import partial
from statistics import median

from benchmarks.quality.baselines.asking import Asked, ask
from benchmarks.quality.baselines.reading import TOKEN, SlidingWindow, first_sentence
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material, Row

SHOTS = 2
ANSWER_TOKENS = 32
INSTRUCTION = "Answer the question with a few words copied from the text, and nothing else."


def beginning(material: Material, seed: int, tools: Tools) -> Answer:
    """The first sentence of each context."""
    return _answer([first_sentence(row["context"]).text for row in material.test])


def nearest_words(material: Material, seed: int, tools: Tools) -> Answer:
    """The sliding window; answers are as long as most of the train rows'."""
    window = SlidingWindow([row["context"] for row in material.train])
    usual = median(len(TOKEN.findall(answer["text"])) for row in material.train for answer in row["answers"])
    words = max(1, round(usual))
    return _answer([window.answer(row["question"], row["context"], words).text for row in material.test])


def prompted(material: Material, seed: int, tools: Tools, shots: int) -> Answer:
    """What a language model answers."""
    asked = Asked(INSTRUCTION, _question, _first_answer, ANSWER_TOKENS)
    return _answer(ask(asked, material, tools.writer(), shots, seed))


def _question(row: Row) -> str:
    return f"{row['context']}\n\n{row['question']}"


def _first_answer(row: Row) -> str:
    return str(row["answers"][0]["text"]) if row["answers"] else "none"


def _answer(texts: list[str]) -> Answer:
    return Answer(
        {
            "answer": list(texts),
            "windows": [1] * len(texts),
            "loss": [math.nan] * len(texts),
            "learnt": [1] * len(texts),
        }
    )


CONTENDERS = (
    Contender("first-sentence", beginning),
    Contender("sliding-window", nearest_words),
    Contender("zero-shot", partial(prompted, shots=0), {"shots": 0}),
    Contender("few-shot", partial(prompted, shots=SHOTS), {"shots": SHOTS}, seeded=True),
)
