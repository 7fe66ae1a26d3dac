"""Choosing a label by counts, words, or a prompted model. Every chooser gives a probability for each known label.

The prompted model's likelihoods are set against those that it gives without any text, since it likes some labels
better than others from the start (Zhao et al. 2021, Calibrate Before Use, https://arxiv.org/abs/2102.09690).
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.quality.baselines.retrieving import WORD
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material
from benchmarks.quality.prompting import Writer, turns
from services.evaluation.statistics import surprise

Row = Mapping[str, Any]
Rows = Sequence[Row]
Chances = NDArray[np.float64]
NO_TEXT = "N/A"
SHOTS = 8


@dataclass(frozen=True)
class Choice:
    """What the choosers need to know of a kind's rows."""

    text: Callable[[Row], str]
    label: Callable[[Row], str]
    instruction: str
    """For the prompted model; {labels} stands for them."""
    words: Callable[[Row], str] | None = None
    """What words are counted in, where that is not the text."""


@dataclass(frozen=True)
class Chosen:
    """Probabilities (rows x labels)."""

    labels: list[str]
    chances: Chances

    @property
    def guesses(self) -> list[str]:
        return [self.labels[best] for best in self.chances.argmax(1)]

    def losses(self, truth: Sequence[str]) -> list[float]:
        """Nats of the right label of each row; bounded where it was given no chance at all."""
        place = {label: index for index, label in enumerate(self.labels)}
        given = [
            float(chances[place[label]]) if label in place else 0.0
            for label, chances in zip(truth, self.chances, strict=True)
        ]
        return list(map(surprise, given))


def by_majority(choice: Choice, train: Sequence[Row], rows: Sequence[Row]) -> Chosen:
    """Shares of the labels in the train rows, whatever the text says."""
    counts = Counter(map(choice.label, train))
    labels = sorted(counts)
    shares = np.array([counts[label] / len(train) for label in labels])
    return Chosen(labels, np.tile(shares, (len(rows), 1)))


def by_words(choice: Choice, train: Sequence[Row], rows: Sequence[Row]) -> Chosen:
    """TF-IDF of words, word pairs and letter groups; logistic regression."""
    words = TfidfVectorizer(token_pattern=WORD, ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    read = choice.words or choice.text
    texts, asked = list(map(read, train)), list(map(read, rows))
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(hstack([words.fit_transform(texts), letters.fit_transform(texts)]), list(map(choice.label, train)))
    chances = model.predict_proba(hstack([words.transform(asked), letters.transform(asked)]))
    return Chosen([str(label) for label in model.classes_], chances)


def by_prompt(
    choice: Choice, train: Sequence[Row], rows: Sequence[Row], writer: Writer, shots: int, seed: int
) -> Chosen:
    """The label that a language model finds likeliest, after `shots` examples drawn by the seed."""
    labels = sorted(set(map(choice.label, train)))
    instruction = choice.instruction.format(labels=", ".join(labels))
    shown = [(choice.text(row), choice.label(row)) for row in draw_shots(choice, train, shots, seed)]

    def weigh(text: str) -> Chances:
        return np.array(writer.log_likelihoods(turns(instruction, shown, text), labels))

    without_text = weigh(NO_TEXT)
    scores = np.array([weigh(choice.text(row)) - without_text for row in rows])
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return Chosen(labels, exponentials / exponentials.sum(1, keepdims=True))


def draw_shots(choice: Choice, train: Sequence[Row], count: int, seed: int) -> list[Row]:
    """So many rows, as evenly over the labels as they go, in a drawn order."""
    drawn = random.Random(seed)
    by_label: dict[str, list[Row]] = {}
    for row in drawn.sample(list(train), len(train)):
        by_label.setdefault(choice.label(row), []).append(row)
    queues = drawn.sample(sorted(by_label.items()), len(by_label))
    rounds = [rows[turn] for turn in range(count) for _, rows in queues if turn < len(rows)]
    return drawn.sample(rounds[:count], min(count, len(rounds)))


def choosers(choice: Choice) -> tuple[Contender, ...]:
    """The contenders of a kind that chooses one label a row."""
    return (
        Contender("majority", partial(_answer, choice=choice, choose=by_majority)),
        Contender("tfidf-regression", partial(_answer, choice=choice, choose=by_words)),
        Contender("zero-shot", partial(_prompted, choice=choice, shots=0), {"shots": 0}),
        Contender("few-shot", partial(_prompted, choice=choice, shots=SHOTS), {"shots": SHOTS}, seeded=True),
    )


def _answer(
    material: Material, seed: int, tools: Tools, choice: Choice, choose: Callable[[Choice, Rows, Rows], Chosen]
) -> Answer:
    return _outputs(choice, material.test, choose(choice, material.train, material.test))


def _prompted(material: Material, seed: int, tools: Tools, choice: Choice, shots: int) -> Answer:
    rows = material.test[: material.prompted]
    return _outputs(choice, rows, by_prompt(choice, material.train, rows, tools.writer(), shots, seed))


def _outputs(choice: Choice, rows: Rows, chosen: Chosen) -> Answer:
    losses = chosen.losses(list(map(choice.label, rows)))
    return Answer({"guess": list(chosen.guesses), "loss": list(losses), "labels": list(chosen.labels)})
