"""Baselines of kinds that write, on tiny models."""

from functools import partial

import pytest

from benchmarks.quality.sources import RawRows
from tests.support.tiny_models import tiny_decoder
from tests.unit.benchmarks.quality.tiny import baselines


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    base = tiny_decoder(tmp_path_factory.mktemp("bases") / "decoder")
    return partial(baselines, base=base, writer=base)


def test_conversations(answers):
    def rows(start, count):
        return [
            {"prompt": f"what is the price of {number}?", "response": f"it is {number} coins for one"}
            for number in range(start, start + count)
        ]

    found = answers("chat", "loss", RawRows(rows(0, 20), rows(20, 8)), answer_tokens=4)
    assert list(found) == ["unigrams", "trigrams", "zero-shot", "few-shot"]
    rows_answered = {name: len(one.statistics) for name, (one, _) in found.items()}
    assert rows_answered == {"unigrams": 8, "trigrams": 8, "zero-shot": 8, "few-shot": 3}
    assert found["trigrams"][0].value < found["unigrams"][0].value < found["zero-shot"][0].value
    tokens = [outputs["tokens"] for _, outputs in found.values()]
    assert tokens[0] == tokens[1] == tokens[2]
    assert tokens[3] == tokens[0][:3]


def test_translations(answers):
    words = ["the quick fox", "a bad film", "the lazy dog", "ten coins"]
    rows = [
        {"source": f"{word} {n}", "target": f"{word.upper()} {n}", "source_lang": "en", "target_lang": "en"}
        for n in range(10)
        for word in words
    ]
    found = answers("translation", "chrf", RawRows(rows[:20], rows[20:28]), answered_rows=3, answer_tokens=4)
    assert list(found) == ["copy", "memory", "zero-shot", "few-shot"]
    assert {len(one.statistics) for one, _ in found.values()} == {3}
    assert found["memory"][0].value > found["copy"][0].value >= 0
    assert all(len(outputs["answers"]) == 3 for _, outputs in found.values())


def test_summaries(answers):
    rows = [
        {"document": f"Film {n} is good. It is long. It is old. It ends.", "summary": f"Film {n} is good."}
        for n in range(28)
    ]
    found = answers("summarisation", "rouge_l", RawRows(rows[:20], rows[20:]), answered_rows=3, answer_tokens=4)
    assert list(found) == ["first-sentence", "first-three", "memory", "zero-shot", "few-shot"]
    assert found["first-sentence"][0].value == 1.0 > found["first-three"][0].value > found["zero-shot"][0].value


def test_running_text(answers):
    rows = [{"text": f"the quick brown fox number {n} jumps over the lazy dog"} for n in range(28)]
    found = answers(
        "pretraining",
        "bits_per_byte",
        RawRows(rows[:20], rows[20:]),
    )
    assert list(found) == ["unigrams", "trigrams", "zero-shot"]
    assert found["trigrams"][0].value < found["unigrams"][0].value < found["zero-shot"][0].value
    assert len({tuple(outputs["tokens"]) for _, outputs in found.values()}) == 1
