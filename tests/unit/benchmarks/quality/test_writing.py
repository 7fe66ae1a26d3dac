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
