"""Shingles, bands and pairs, against what counting by hand gives."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion.near import joining
from services.ingestion.near.bands import MISSED, Bands, banded
from services.ingestion.near.components import connected
from services.ingestion.near.hashing import Mask, Places
from services.ingestion.near.joining import close_pairs, sharing_rare_ones, verified
from services.ingestion.near.shingles import Sets, shingled, starts_of


def everything(first: Places, second: Places) -> Mask:
    return np.ones(len(first), np.bool_)


def sets_of(found: Sets) -> list[set[int]]:
    return [set(found.members[a:b].tolist()) for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


def by_hand(found: Sets, threshold: float) -> set[tuple[int, int]]:
    numbered = list(enumerate(sets_of(found)))
    return {(a, b) for (a, x), (b, y) in combinations(numbered, 2) if len(x & y) >= threshold * len(x | y) - 1e-9}


def found_pairs(found: Sets, threshold: float, *, spanning: bool = False) -> set[tuple[int, int]]:
    bands = Bands.for_threshold(threshold, 1, 1e-6)
    pairs = close_pairs(banded(found, bands), found, threshold, everything, spanning=spanning)
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize(
    ("first", "second", "shared", "whole"),
    [
        ("a good film", "A good, film!", 2, 2),
        ("a good film", "a good book", 1, 3),
        ("order 1234", "order 1235", 0, 2),
        ("我喜欢电影", "我喜欢电视", 3, 5),
        ("我喜欢 电影。", "我喜欢电影", 4, 4),
        ("好", "好！", 1, 1),
        ("good", "good", 1, 1),
        ("👍👍", "👍👍 👍", 1, 1),
        ("ภาษา", "ภาษา", 3, 3),
    ],
)
def test_two_words_are_a_shingle_and_so_are_two_characters_without_blanks(
    first: str, second: str, shared: int, whole: int
) -> None:
    ours, theirs = sets_of(shingled([first.casefold(), second.casefold()]))
    assert (len(ours & theirs), len(ours | theirs)) == (shared, whole)


def test_texts_of_nothing_have_a_shingle_all_the_same() -> None:
    assert shingled(["", " ", "\0"]).sizes.tolist() == [1, 1, 1]
    assert len(shingled([])) == 0


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_miss_a_pair_at_the_threshold_less_than_once_in_ten_thousand(threshold: float) -> None:
    assert Bands.for_threshold(threshold, 0).missed(threshold) < MISSED


def test_bands_miss_as_often_as_said() -> None:
    """8,000 pairs of similarity 1/2 with few bands: the share of pairs that never meet is that of the formula."""
    chance = random.Random(0)
    rows = [chance.sample(range(1 << 32), 30) for _ in range(8000)]
    members = [one for row in rows for half in (row[:20], row[10:]) for one in sorted(half)]
    found = Sets(starts_of(np.full(16_000, 20)), np.array(members, np.uint32))
    bands = Bands(2, 6, 3)
    entries = banded(found, bands)
    hashes, numbers = entries >> np.uint64(32), (entries & np.uint64(0xFFFFFFFF)).astype(np.int64)
    same = (hashes[1:] == hashes[:-1]) & (numbers[1:] // 2 == numbers[:-1] // 2)
    met = len(set((numbers[1:][same] // 2).tolist())) / 8000
    assert abs((1 - met) - bands.missed(1 / 3)) < 0.02


small_sets = st.lists(st.sets(st.integers(0, 30), min_size=1, max_size=12), min_size=1, max_size=25)


@settings(max_examples=30, deadline=None)
@given(small_sets, st.sampled_from([0.5, 0.7, 0.8, 1.0]))
def test_rare_shingles_lose_no_pair(rows: list[set[int]], threshold: float) -> None:
    members = np.array([one for row in rows for one in sorted(row)], np.uint32)
    found = Sets(starts_of(np.array([len(row) for row in rows])), members)
    numbers = np.arange(len(rows))
    candidates = list(sharing_rare_ones(np.zeros(len(rows), np.int64), numbers, found, threshold))
    pairs = np.concatenate([np.zeros(0, np.uint64), *candidates])
    first, second = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    kept = verified(first, second, found, threshold)
    assert set(zip(kept.first.tolist(), kept.second.tolist(), strict=True)) == by_hand(found, threshold)


@pytest.mark.parametrize("spanning", [False, True])
def test_pairs_are_those_of_counting_and_spanning_ones_connect_the_same(
    spanning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "BLOCK_MEMBERS", 500)
    chance = random.Random(1)
    words = [f"word{n}" for n in range(400)]
    texts = []
    for _ in range(30):
        base = chance.choices(words, k=20)
        for _ in range(chance.choice((1, 2, 3, 30))):
            copy = list(base)
            copy[chance.randrange(20)] = chance.choice(words)
            texts.append(" ".join(copy))
    found, everyone = shingled(texts), by_hand(shingled(texts), 0.8)
    got = found_pairs(found, 0.8, spanning=spanning)
    assert len(everyone) > 300
    assert got == everyone if not spanning else got <= everyone
    assert components(len(texts), got) == components(len(texts), everyone)


def test_rows_that_are_all_alike_are_connected_by_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "HUGE_BUCKET", 100)
    text = "so many rows say nearly all of the same things again and again that only the number at their end differs"
    found = shingled([f"{text} {number}" for number in range(2000)])
    pairs = found_pairs(found, 0.8, spanning=True)
    assert len(pairs) < 3 * 2000
    assert set(components(2000, pairs)) == {0}


def components(count: int, pairs: set[tuple[int, int]]) -> list[int]:
    first, second = (np.array([pair[end] for pair in sorted(pairs)], np.int64) for end in (0, 1))
    found: list[int] = connected(count, first, second).tolist()
    return found


def test_a_template_costs_no_pairs() -> None:
    found = shingled([f"thank you for order {number} we will send it soon" for number in range(3000)])
    assert found_pairs(found, 0.8) == set()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_components_are_those_of_following_every_edge(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    expected = list(range(count))
    for _ in range(count):
        for a, b in edges:
            expected[a] = expected[b] = min(expected[a], expected[b])
    ends = (np.array([edge[end] for edge in edges], np.int64) for end in (0, 1))
    assert connected(count, *ends).tolist() == expected
