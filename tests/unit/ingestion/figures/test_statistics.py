import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.figures.statistics import MAX_LABELS, MAX_SOURCES, OTHER_LABELS, count_row, summarise
from shared.storage.tables import Batch


def batch(lengths: list[int], split: str = "train", label: str = "a", **fields: Any) -> Batch:
    statistics: dict[str, Any] = {}
    for length in lengths:
        count_row(statistics, split, (label,), {"characters": length})
    given = {"source": "app", "accepted": len(lengths), "test_eligible": True, "duplicates": 0, "quarantined": 0}
    return Batch(**{**given, "quarantine_reasons": {}, "statistics": statistics, **fields})


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=60), st.integers(0, 60))
def test_the_sum_of_parts_is_the_whole(lengths: list[int], cut: int) -> None:
    whole = summarise([batch(lengths)])
    parts = summarise([batch(lengths[:cut]), batch(lengths[cut:])])
    assert parts["lengths"] == whole["lengths"]
    assert parts["labels"] == whole["labels"]


@given(st.lists(st.integers(1, 1_000_000), min_size=1, max_size=200))
def test_quantiles_are_within_a_bucket_of_the_true_ones(lengths: list[int]) -> None:
    found = summarise([batch(lengths)])["lengths"]["characters"]
    ordered = sorted(lengths)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        true = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
        assert 0.94 * true - 1 <= found[name] <= 1.06 * true + 1
    assert found["max"] == ordered[-1]
    assert abs(found["mean"] - sum(lengths) / len(lengths)) <= 0.01


def test_test_rows_that_may_not_judge_are_not_counted() -> None:
    found = summarise([batch([5, 5], split="test"), batch([5, 5, 5], split="test", test_eligible=False)])
    assert found["labels"] == {"test": {"a": 2}}


def test_labels_without_end_are_put_together() -> None:
    statistics: dict[str, Any] = {}
    for number in range(MAX_LABELS + 50):
        count_row(statistics, "train", (f"label {number}",), {})
    assert len(statistics["train"]["labels"]) == MAX_LABELS + 1
    assert statistics["train"]["labels"][OTHER_LABELS] == 50


def test_sources_and_reasons_add_up() -> None:
    one = batch([1], source="app", quarantined=2, quarantine_reasons={"EMPTY_TEXT": 2}, duplicates=3)
    two = batch([1] * 4, source="web", quarantined=1, quarantine_reasons={"EMPTY_TEXT": 1})
    found = summarise([one, two])
    assert found["sources"] == {"app": 1, "web": 4}
    assert (found["batches"], found["duplicates"], found["quarantined"]) == (2, 3, 3)
    assert found["quarantine_reasons"] == {"EMPTY_TEXT": 3}


def test_a_large_batch_keeps_small_statistics() -> None:
    chance = random.Random(0)
    found = batch([chance.randint(1, 60_000) for _ in range(20_000)])
    assert len(found.statistics["train"]["lengths"]["characters"]["buckets"]) < 200


def test_sources_without_end_are_put_together() -> None:
    found = summarise([batch([1] * (1 + number % 2), source=f"user {number}") for number in range(MAX_SOURCES + 50)])
    assert len(found["sources"]) == MAX_SOURCES + 1
    assert found["sources"][OTHER_LABELS] == 50
    assert sum(found["sources"].values()) == (MAX_SOURCES + 50) * 3 // 2
