"""Baselines of kinds that tag, read and put in order, on tiny models."""

from functools import partial

import pytest

from benchmarks.quality.sources import RawRows
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.unit.benchmarks.quality.tiny import baselines

THINGS = ("door", "price", "film", "dog", "fox", "key", "coin", "service")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return partial(baselines, base=tiny_encoder(folder / "encoder"), writer=tiny_decoder(folder / "decoder"))


def rows_counted(found):
    return {name: len(one.statistics) for name, (one, _) in found.items()}


def test_entities(answers):
    rows = [
        {"tokens": [*f"number {n} is".split(), thing], "tags": ["O", "O", "O", "B-THING"]}
        for n in range(4)
        for thing in THINGS
    ]
    found = answers("token_classification", "f1", RawRows(rows[:24], rows[24:]))
    assert rows_counted(found) == {"majority": 8, "dictionary": 8, "words-regression": 8, "zero-shot": 3, "few-shot": 3}
    assert found["majority"][0].value == 0.0
    assert found["dictionary"][0].value > 0.7


def test_answers_in_a_context(answers):
    rows = [
        {
            "question": f"what opens the {thing} {n}?",
            "context": f"It is {n}. The {thing} {n} opens blue magic. Rain.",
            "answers": [{"text": "blue magic"}],
        }
        for n in range(4)
        for thing in THINGS
    ]
    found = answers("question_answering", "f1", RawRows(rows[:24], rows[24:]))
    assert rows_counted(found) == {"first-sentence": 8, "sliding-window": 8, "zero-shot": 3, "few-shot": 3}
    assert found["sliding-window"][0].value > 0.5 > found["first-sentence"][0].value == 0.0


def test_answers_to_choose_among(answers):
    rows = [
        {"question": f"what is {a} {n}?", "candidates": [f"{a} {n} is good", f"{b} is bad"], "answer": 0}
        for n in range(4)
        for a, b in zip(THINGS, reversed(THINGS), strict=True)
    ]
    found = answers("answer_selection", "accuracy", RawRows(rows[:24], rows[24:]))
    assert list(found) == ["chance", "bm25", "tfidf-cosine", "untouched-vectors", "zero-shot", "few-shot"]
    assert found["bm25"][0].value == found["tfidf-cosine"][0].value == 1.0
    assert 0 < found["chance"][0].value < 1


@pytest.mark.parametrize("kind", ["ranking", "embedding"])
def test_texts_in_order(answers, kind):
    rows = [
        {"query": f"{thing} {n}", "positive": f"the {thing} {n} is here", "negatives": [f"no {n}"]}
        for n in range(4)
        for thing in THINGS
    ]
    found = answers(kind, "mrr", RawRows(rows[:24], rows[24:]))
    assert set(rows_counted(found).values()) == {8}
    assert found["bm25"][0].value == 1.0 > found["chance"][0].value
    assert ("popularity" in found) == (kind == "ranking")


def test_what_is_liked_by_many_comes_first(answers):
    likes = ["film"] * 12 + list(THINGS)
    rows = [
        {"query": f"person {n}", "positive": thing, "negatives": [one for one in THINGS if one != thing][:3]}
        for n, thing in enumerate(likes)
    ]
    test = [{"query": f"somebody {n}", "positive": "film", "negatives": ["key", "coin"]} for n in range(3)]
    assert answers("ranking", "mrr", RawRows(rows, test))["popularity"][0].value == 1.0
