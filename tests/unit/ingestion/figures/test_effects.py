"""Effect sizes and figures of whole datasets, against plain computations."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.figures.balance import class_balance, outliers
from services.ingestion.figures.effects import cliffs_delta, contributions, cramers_v, jensen_shannon, total_variation
from services.ingestion.figures.measuring import LENGTHS, measure
from services.ingestion.figures.statistics import bucket_of, count_row, upper_edge
from services.ingestion.figures.vocabulary import KEPT, Vocabulary, texts_of
from shared.rows import SCHEMAS

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)
SHORT = st.lists(st.integers(0, 30), min_size=1, max_size=25)


def buckets(lengths: list[int]) -> dict[str, int]:
    return {str(length): lengths.count(length) for length in set(lengths)}


@given(SHORT, SHORT)
def test_cliffs_delta_counts_the_pairs(first: list[int], second: list[int]) -> None:
    wins = sum((b > a) - (b < a) for a in first for b in second)
    assert cliffs_delta(buckets(first), buckets(second)).value == pytest.approx(wins / (len(first) * len(second)))


@given(COUNTS, COUNTS)
def test_distances_are_zero_for_equals_and_at_most_one(first: dict[str, int], second: dict[str, int]) -> None:
    for effect in (total_variation, cramers_v, jensen_shannon):
        assert effect(first, first).value == pytest.approx(0, abs=1e-9)
        assert 0 <= effect(first, second).value <= 1 + 1e-9
        assert effect(first, second).value == pytest.approx(effect(second, first).value)
    apart = {f"{name}!": count for name, count in second.items()}
    assert total_variation(first, apart).value == pytest.approx(1)
    assert jensen_shannon(first, apart).value == pytest.approx(1)
    assert cramers_v(first, apart).value == pytest.approx(1)


@given(COUNTS, COUNTS)
def test_words_share_out_the_divergence(first: dict[str, int], second: dict[str, int]) -> None:
    parts = contributions(first, second)
    assert all(part >= -1e-12 for part in parts.values())
    assert sum(parts.values()) == pytest.approx(jensen_shannon(first, second).value, abs=1e-9)


def test_sizes_are_told_in_the_words_of_the_literature() -> None:
    same, far = {"1": 10, "2": 10}, {"30": 20}
    assert cliffs_delta(same, same).plain() == {"name": "Cliff's delta", "value": 0.0, "size": "negligible"}
    assert cliffs_delta(same, far).size == "large"
    assert cramers_v({"a": 60, "b": 40}, {"a": 40, "b": 60}).size == "small"
    assert cramers_v({}, {}).value == 0


def test_the_effective_number_of_classes_falls_as_they_get_uneven() -> None:
    assert class_balance({"a": 50, "b": 50}) == {
        "labels": 2,
        "effective": 2.0,
        "largest": 50,
        "smallest": 50,
        "ratio": 1.0,
    }
    uneven = class_balance({"a": 99, "b": 1})
    entropy = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01))
    assert uneven["effective"] == pytest.approx(math.exp(entropy), abs=1e-3)
    assert uneven["ratio"] == 99
    assert class_balance({}) == {}


def test_lengths_out_of_line_are_counted_on_both_ends() -> None:
    lengths = [*range(60, 140), 1, 1, 5000]
    counted: dict[str, int] = {}
    for length in lengths:
        counted[bucket_of(length)] = counted.get(bucket_of(length), 0) + 1
    found = outliers(counted, upper_edge)
    assert (found["short"], found["long"]) == (2, 1)
    assert found["from"] > 1
    assert 139 < found["to"] < 5000
    assert outliers({"7": 30}, upper_edge) == {}


def test_words_are_counted_in_english_and_in_chinese() -> None:
    words = Vocabulary()
    assert words.places(1) == [0]
    words.add(["Don't panic, don’t PANIC 42!", "退款还没到账 refund"])
    found = words.sketch()
    assert found["words"]["panic"] == 2
    assert found["words"]["款"] == found["words"]["refund"] == found["words"]["42"] == 1
    assert found["tokens"] == sum(found["words"].values()) == 12


def test_a_large_batch_is_sampled_and_its_sketch_stays_small() -> None:
    words = Vocabulary()
    rows = 0
    for _ in range(6):
        for place in words.places(3000):
            words.add([f"word{rows + place} common"])
        rows += 3000
    found = words.sketch()
    assert len(found["words"]) == KEPT
    assert found["words"]["common"] == pytest.approx(rows, rel=0.01)
    assert found["tokens"] == 2 * found["words"]["common"]


def test_columns_are_counted_as_rows_are() -> None:
    given = {
        "classification": [
            {"text": "ein Tag", "label": "good", "text_pair": "好日子", "labels": None},
            {"text": "x" * 70, "label": "bad", "text_pair": None, "labels": None},
            {"text": "", "label": None, "text_pair": None, "labels": ["bad", "sad"]},
        ],
        "instruction": [{"instruction": "do", "input": None, "output": "done"}],
        "translation": [{"source": "a", "target": "不", "source_lang": "en", "target_lang": "zh"}],
        "summarisation": [{"document": "long text", "summary": "text"}],
        "generation": [{"prompt": None, "text": "once"}, {"prompt": "tell", "text": "upon a time"}],
        "relation_extraction": [
            {"text": "a in b", "head_start": 0, "head_end": 1, "tail_start": 5, "tail_end": 6, "label": "in"}
        ],
    }
    assert given.keys() == LENGTHS.keys()
    for kind, rows in given.items():
        schema = SCHEMAS[kind]
        expected: dict[str, Any] = {}
        for row in rows:
            count_row(expected, "train", schema.labels(row), schema.lengths(row))
        chunk = pa.RecordBatch.from_pylist([{"split": "train", **row} for row in rows])
        found = measure([chunk], schema)
        assert found.splits == {"train": len(rows), "validation": 0, "test": 0}
        assert {key: found.statistics["train"][key] for key in ("labels", "lengths")} == expected["train"]


def test_only_what_somebody_wrote_is_text() -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "你好"}]}
    assert list(texts_of(SCHEMAS["chat"], chat)) == ["hello", "你好"]
    tweet = {"text": "a day", "label": "positive", "text_pair": None, "labels": None}
    assert list(texts_of(SCHEMAS["classification"], tweet)) == ["a day"]
