"""Baselines for classification."""

import math
from functools import partial
from typing import Any

from benchmarks.quality.baselines.choosing import SHOTS, Choice, Chosen, by_majority, by_prompt, by_words
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material
from services.evaluation.kinds.classification import LEAST_PROBABILITY


def _text(row: Any) -> str:
    pair = row.get("text_pair")
    return row["text"] if pair is None else f"{row['text']}\n{pair}"


CHOICE = Choice(
    text=_text,
    label=lambda row: str(row["label"]),
    instruction="Say which label fits the text best. The labels are: {labels}. Answer with one label and nothing else.",
)


def majority(material: Material, seed: int, tools: Tools) -> Answer:
    """The commonest label."""
    return _answer(material, by_majority(CHOICE, material.train, material.test))


def words(material: Material, seed: int, tools: Tools) -> Answer:
    """TF-IDF and logistic regression."""
    return _answer(material, by_words(CHOICE, material.train, material.test))


def prompted(material: Material, seed: int, tools: Tools, shots: int) -> Answer:
    """The language model's likeliest label."""
    rows = material.test[: material.prompted]
    return _answer(material, by_prompt(CHOICE, material.train, rows, tools.writer(), shots, seed))


def _answer(material: Material, chosen: Chosen) -> Answer:
    place = {label: index for index, label in enumerate(chosen.labels)}
    losses = []
    for row, chances in zip(material.test, chosen.chances, strict=False):
        known = place.get(CHOICE.label(row))
        losses.append(-math.log(max(LEAST_PROBABILITY, 0.0 if known is None else float(chances[known]))))
    return Answer({"guess": list(chosen.guesses), "loss": losses, "labels": list(chosen.labels)})


CONTENDERS = (
    Contender("majority", majority),
    Contender("tfidf-regression", words),
    Contender("zero-shot", partial(prompted, shots=0), {"shots": 0}),
    Contender("few-shot", partial(prompted, shots=SHOTS), {"shots": SHOTS}, seeded=True),
)
