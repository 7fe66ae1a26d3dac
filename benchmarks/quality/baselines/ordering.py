"""Baselines for kinds that put texts in order for a query."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from benchmarks.quality.baselines.retrieving import Bm25, TfIdf
from benchmarks.quality.contenders import Answer, Contender, Tools
from benchmarks.quality.material import Material, Row
from benchmarks.quality.prompting import turns
from services.evaluation.kinds import find_kind
from services.evaluation.kinds.choosing import Candidates, JudgedChoosing, Scores, loss, places
from shared.modeling.bases import resolve_base
from shared.modeling.loading import load_base
from shared.modeling.predict import embed

SHOTS = 2
INSTRUCTION = "Answer the question."
NO_QUESTION = "N/A"
Score = Callable[[Candidates, Sequence[str]], Scores]
"""Of texts for the query of a list."""


def by_chance(material: Material, seed: int, tools: Tools) -> Answer:
    """A drawn order."""
    drawn = np.random.default_rng(0)
    return _answer(material, material.test, lambda one, texts: drawn.random(len(texts)))


def by_popularity(material: Material, seed: int, tools: Tools) -> Answer:
    """What is right for many train rows comes first, whatever the query; ties in a drawn order."""
    counts = Counter(text for row in material.train for text in row["positives"])
    drawn = random.Random(0)
    return _answer(
        material, material.test, lambda one, texts: np.array([counts[text] + drawn.random() for text in texts])
    )


def by_words(material: Material, seed: int, tools: Tools, index: type[Bm25] | type[TfIdf]) -> Answer:
    """What shares most words with the query."""
    texts = sorted({text for one in _lists(material) for text in (*one.right, *one.wrong)})
    place = {text: number for number, text in enumerate(texts)}
    collection = index(texts)

    def score(one: Candidates, asked: Sequence[str]) -> Scores:
        found: Scores = collection.scores([one.query])[0][[place[text] for text in asked]]
        return found

    return _answer(material, material.test, score)


def by_untouched_vectors(material: Material, seed: int, tools: Tools) -> Answer:
    """Cosines of the base model's vectors."""
    loaded = load_base(resolve_base(material.study.base, tools.bases), "embedding", max_length=256)
    texts = sorted({text for one in _lists(material) for text in (one.query, *one.right, *one.wrong)}, key=len)
    vectors = dict(zip(texts, embed(loaded, texts), strict=True))

    def score(one: Candidates, asked: Sequence[str]) -> Scores:
        return np.array([vectors[one.query] @ vectors[text] for text in asked], dtype=np.float64)

    return _answer(material, material.test, score)


def by_prompt(material: Material, seed: int, tools: Tools, shots: int) -> Answer:
    """What a language model finds likelier as an answer to this question than as one to none, after examples.

    (Holtzman et al. 2021, Surface Form Competition, https://arxiv.org/abs/2104.08315.)
    """
    writer = tools.writer()
    drawn = random.Random(seed).sample(material.train, min(shots, len(material.train)))
    shown = [(row["question"], row["candidates"][row["answer"]]) for row in drawn]

    def score(one: Candidates, asked: Sequence[str]) -> Scores:
        given, without = (
            writer.log_likelihoods(turns(INSTRUCTION, shown, text), asked) for text in (one.query, NO_QUESTION)
        )
        found: Scores = np.array(given) - np.array(without)
        return found

    return _answer(material, material.test[: material.prompted], score)


def _judge(material: Material) -> JudgedChoosing:
    judge = find_kind(material.spec.kind, material.spec.options)
    assert isinstance(judge, JudgedChoosing)
    return judge


def _lists(material: Material) -> list[Candidates]:
    return _judge(material).candidates(material.test)


def _answer(material: Material, rows: Sequence[Row], score: Score) -> Answer:
    """Of the first rows; candidates are those that all test rows make."""
    lists = _lists(material)[: len(rows)]
    found = [(score(one, one.right), score(one, one.wrong)) for one in lists]
    return Answer(
        {
            "places": [places(right, wrong) for right, wrong in found],
            "wrong": [len(wrong) for _, wrong in found],
            "loss": [loss(right, wrong) for right, wrong in found],
            "best": [""] * len(found),
        }
    )


def _contenders(also: Iterable[Contender] = ()) -> tuple[Contender, ...]:
    return (
        Contender("chance", by_chance),
        Contender("bm25", partial(by_words, index=Bm25)),
        Contender("tfidf-cosine", partial(by_words, index=TfIdf)),
        Contender("untouched-vectors", by_untouched_vectors),
        *also,
    )


VECTORS = _contenders()
RANKED = _contenders([Contender("popularity", by_popularity)])
SELECTED = _contenders(
    [
        Contender("zero-shot", partial(by_prompt, shots=0), {"shots": 0}),
        Contender("few-shot", partial(by_prompt, shots=SHOTS), {"shots": SHOTS}, seeded=True),
    ]
)
