"""Effect sizes and figures of whole datasets, against plain computations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.balance import class_balance, outliers
from services.ingestion.effects import cliffs_delta, contributions, cramers_v, jensen_shannon, total_variation
from services.ingestion.statistics import bucket_of, upper_edge
from services.ingestion.vocabulary import ALL_ROWS, KEPT, SHARE, Vocabulary, texts_of
from shared.rows import SCHEMAS

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1)
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=25)


def buckets(lengths: list[int]) -> dict[str, int]:
    return {str(length): lengths.count(length) for length in set(lengths)}


@given(LENGTHS, LENGTHS)
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
    words.add(["Don't panic, don’t PANIC 42!", "退款还没到账 refund"])
    found = words.sketch()
    assert found["words"]["panic"] == 2
    assert found["words"]["款"] == found["words"]["refund"] == found["words"]["42"] == 1
    assert found["tokens"] == sum(found["words"].values()) == 12


def test_a_large_batch_is_sampled_and_its_sketch_stays_small() -> None:
    words = Vocabulary()
    for number in range(ALL_ROWS + 160 * SHARE):
        words.add([f"word{number} common"])
    found = words.sketch()
    assert len(found["words"]) == KEPT
    assert found["words"]["common"] == ALL_ROWS + 160 * SHARE
    assert found["tokens"] == 2 * (ALL_ROWS + 160 * SHARE)


def test_only_what_somebody_wrote_is_text() -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "你好"}]}
    assert list(texts_of(SCHEMAS["chat"], chat)) == ["hello", "你好"]
    tweet = {"text": "a day", "label": "positive", "text_pair": None, "labels": None}
    assert list(texts_of(SCHEMAS["classification"], tweet)) == ["a day"]
