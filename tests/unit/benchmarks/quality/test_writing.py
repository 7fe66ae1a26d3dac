"""Baselines of kinds that write, on tiny models."""

import pytest

from benchmarks.quality.baselines import BASELINES
from benchmarks.quality.cells import Cell
from benchmarks.quality.contenders import Tools
from benchmarks.quality.material import prepare
from benchmarks.quality.running import measure
from benchmarks.quality.sources import RawRows
from benchmarks.quality.studies import Sizes, Study
from tests.support.tiny_models import tiny_decoder

SIZES = Sizes(20, 8, 3)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_decoder(tmp_path_factory.mktemp("bases") / "decoder")


def answers(kind, metric, raw, base, folder, **options):
    """Each baseline's measure on its own rows, by name, and the answers that it gave."""
    study = Study("tiny", kind, "tiny", metric, SIZES, SIZES, base=str(base), options=options)
    material = prepare(study, raw, SIZES)
    tools = Tools(folder, folder, 1, lambda: pytest.fail("a writer of its own is loaded"))
    found = {one.name: one.answer(material, 0, tools) for one in BASELINES[kind]}
    return {name: (measure(material, Cell(one.outputs, {}, 0.0)), one.outputs) for name, one in found.items()}


def test_conversations(base, tmp_path):
    def rows(start, count):
        return [
            {"prompt": f"what is the price of {number}?", "response": f"it is {number} coins for one"}
            for number in range(start, start + count)
        ]

    found = answers("chat", "loss", RawRows(rows(0, 20), rows(20, 8)), base, tmp_path, answer_tokens=4)
    assert list(found) == ["unigrams", "trigrams", "zero-shot", "few-shot"]
    rows_answered = {name: len(one.statistics) for name, (one, _) in found.items()}
    assert rows_answered == {"unigrams": 8, "trigrams": 8, "zero-shot": 8, "few-shot": 3}
    assert found["trigrams"][0].value < found["unigrams"][0].value < found["zero-shot"][0].value
    tokens = [outputs["tokens"] for _, outputs in found.values()]
    assert tokens[0] == tokens[1] == tokens[2]
    assert tokens[3] == tokens[0][:3]


def test_translations(base, tmp_path):
    words = ["the quick fox", "a bad film", "the lazy dog", "ten coins"]
    rows = [
        {"source": f"{word} {n}", "target": f"{word.upper()} {n}", "source_lang": "en", "target_lang": "en"}
        for n in range(10)
        for word in words
    ]
    found = answers(
        "translation", "chrf", RawRows(rows[:20], rows[20:28]), base, tmp_path, answered_rows=3, answer_tokens=4
    )
    assert list(found) == ["copy", "memory", "zero-shot", "few-shot"]
    assert {len(one.statistics) for one, _ in found.values()} == {3}
    assert found["memory"][0].value > found["copy"][0].value >= 0
    assert all(len(outputs["answers"]) == 3 for _, outputs in found.values())


def test_summaries(base, tmp_path):
    rows = [
        {"document": f"Film {n} is good. It is long. It is old. It ends.", "summary": f"Film {n} is good."}
        for n in range(28)
    ]
    found = answers(
        "summarisation", "rouge_l", RawRows(rows[:20], rows[20:]), base, tmp_path, answered_rows=3, answer_tokens=4
    )
    assert list(found) == ["first-sentence", "first-three", "memory", "zero-shot", "few-shot"]
    assert found["first-sentence"][0].value == 1.0 > found["first-three"][0].value > found["zero-shot"][0].value


def test_running_text(base, tmp_path):
    rows = [{"text": f"the quick brown fox number {n} jumps over the lazy dog"} for n in range(28)]
    found = answers("pretraining", "bits_per_byte", RawRows(rows[:20], rows[20:]), base, tmp_path)
    assert list(found) == ["unigrams", "trigrams", "zero-shot"]
    assert found["trigrams"][0].value < found["unigrams"][0].value < found["zero-shot"][0].value
    assert len({tuple(outputs["tokens"]) for _, outputs in found.values()}) == 1
