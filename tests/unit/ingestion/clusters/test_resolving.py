"""Copies, clusters and sides, batch by batch, without files or a database."""

import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion.clusters.rows import Outcome
from services.ingestion.near.shingles import shingled
from shared.pipelines.data import Data
from shared.pipelines.dividing import Splits
from shared.rows.base import loosened
from shared.rows.splits import side
from tests.unit.ingestion.clusters.dataset import Dataset, Example

SAID = "the quick brown fox jumps over the lazy dog and then runs far away from the big bad wolf of the north"
SENTENCE = SAID.split()
CHINESE = "这部电影的故事非常感人而且演员的表演也十分出色我和家人都很喜欢看了两遍还想再看"


def dataset(folder: Path, **data: object) -> Dataset:
    return Dataset(Data.model_validate(data), folder)


def varied(changes: Sequence[int]) -> str:
    """The sentence with some words replaced."""
    return " ".join(f"word{place}" if place in changes else word for place, word in enumerate(SENTENCE))


def similarity(first: str, second: str) -> float:
    sets = shingled([loosened(first), loosened(second)])
    ours, theirs = (set(sets.members[sets.offsets[n] : sets.offsets[n + 1]].tolist()) for n in (0, 1))
    return len(ours & theirs) / len(ours | theirs)


def leaks(found: Dataset, threshold: float = 0.8) -> Iterator[tuple[str, str]]:
    for (first, second), (one, other) in zip(
        combinations(found.sides, 2), combinations(found.sides.values(), 2), strict=True
    ):
        if one != other and similarity(first[0], second[0]) >= threshold:
            yield first[0], second[0]


texts = st.one_of(
    st.sets(st.integers(0, len(SENTENCE) - 1), max_size=6).map(sorted).map(varied),
    st.integers(2, len(CHINESE)).map(lambda end: CHINESE[:end]),
    st.integers(0, 12).map(lambda start: CHINESE[start:]),
    st.text("ab .", min_size=1, max_size=6).filter(str.strip),
)
examples = st.builds(Example, texts, st.integers(1, 2), st.sampled_from(["", "", "u1", "u2"]))


@settings(max_examples=20, deadline=None)
@given(st.lists(examples, min_size=1, max_size=24), st.randoms(use_true_random=False), st.integers(1, 5))
def test_no_pair_crosses_in_any_order_and_cutting(rows: list[Example], chance: random.Random, cuts: int) -> None:
    chance.shuffle(rows)
    with tempfile.TemporaryDirectory() as folder:
        found = dataset(Path(folder), splits={"group": "user", "test": 0.4, "validation": 0.2})
        for start in range(0, len(rows), max(1, len(rows) // cuts)):
            found.add(rows[start : start + max(1, len(rows) // cuts)])
    assert list(leaks(found)) == []
    by_group: dict[str, set[str]] = {}
    for row, group in found.groups.items():
        if group:
            by_group.setdefault(group, set()).add(found.sides[row])
    assert all(len(sides) == 1 for sides in by_group.values())


@settings(max_examples=12, deadline=None)
@given(st.lists(examples, min_size=2, max_size=20, unique_by=lambda one: (one.text, one.label)), st.randoms())
def test_sides_do_not_hang_on_the_order_inside_a_batch(rows: list[Example], chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = dataset(Path(folder)), dataset(Path(folder))
        first.add(rows)
        second.add(chance.sample(rows, len(rows)))
    assert first.sides == second.sides
    assert first.clusters == second.clusters


def test_rows_that_are_like_no_other_stand_where_their_hash_says(tmp_path: Path) -> None:
    found = dataset(tmp_path)
    found.add([Example(f"tweet number {n}") for n in range(500)])
    assert {text: side("tests", text, Splits()) for text, _ in found.sides} == {
        text: where for (text, _), where in found.sides.items()
    }


def test_exact_copies_are_dropped_inside_a_batch_and_against_earlier_ones(tmp_path: Path) -> None:
    found = dataset(tmp_path)
    outcomes = found.add([Example("one two"), Example("one two"), Example("three four")]).outcomes.tolist()
    assert outcomes == [Outcome.ACCEPTED, Outcome.DUPLICATE, Outcome.ACCEPTED]
    assert found.add([Example("three four"), Example("five")]).outcomes.tolist() == [
        Outcome.DUPLICATE,
        Outcome.ACCEPTED,
    ]


@pytest.mark.parametrize("text", [" ".join(SENTENCE), CHINESE])
def test_near_copies_share_cluster_and_side_with_earlier_ones(tmp_path: Path, text: str) -> None:
    found = dataset(tmp_path)
    found.add([Example(text)])
    later = found.add([Example(text + "!"), Example(text[:-1]), Example("nothing like it")])
    assert later.near.tolist() == [True, True, False]
    assert len({found.clusters[one, 0] for one in (text, text + "!", text[:-1])}) == 1
    assert len({found.sides[one, 0] for one in (text, text + "!", text[:-1])}) == 1


def test_of_near_copies_only_the_first_stays_when_the_pipeline_says_so(tmp_path: Path) -> None:
    found = dataset(tmp_path, near_duplicates={"keep": "first"})
    first = found.add([Example(varied([1])), Example(varied([])), Example("something else")])
    assert first.outcomes.tolist() == [Outcome.ACCEPTED, Outcome.NEAR_COPY, Outcome.ACCEPTED]
    assert first.near.tolist() == [False, True, False]
    assert found.add([Example(varied([2]))]).outcomes.tolist() == [Outcome.ACCEPTED], "near only to what was dropped"
    assert found.add([Example(varied([1]) + "!")]).outcomes.tolist() == [Outcome.NEAR_COPY]


def split_apart(found: Dataset) -> tuple[str, str, str]:
    """Two texts that came in on different sides, and one that is close to both."""
    for number in range(1000):
        base = [f"w{number}x{place}" for place in range(24)]
        left, right = base[:22], base[2:]
        if len({side("tests", " ".join(words), found.data.splits) for words in (left, right)}) == 2:
            found.add([Example(" ".join(left))])
            found.add([Example(" ".join(right))])
            return " ".join(left), " ".join(right), " ".join(base)
    raise AssertionError("never")


def test_a_row_that_would_tie_two_sides_together_is_refused(tmp_path: Path) -> None:
    found = dataset(tmp_path, near_duplicates={"threshold": 0.9})
    left, right, bridge = split_apart(found)
    assert similarity(left, right) < 0.9 <= min(similarity(left, bridge), similarity(right, bridge))
    refused = found.add([Example(bridge), Example("something else")])
    assert refused.outcomes.tolist() == [Outcome.BRIDGES_SPLITS, Outcome.ACCEPTED]
    assert len(refused.refusals[0].sides) == 2
    assert (bridge, 0) not in found.sides


def test_clusters_of_one_side_become_one_and_stay_so(tmp_path: Path) -> None:
    found = dataset(tmp_path, splits={"group": "user"})
    pairs = [
        (a, b)
        for a in range(30)
        for b in range(a)
        if side("tests", f"text {a}", Splits()) == side("tests", f"text {b}", Splits())
    ]
    first, second = pairs[0]
    found.add([Example(f"text {first}", group="a")])
    found.add([Example(f"text {second}", group="b")])
    linked = found.add([Example(f"text {first}", label=1, group="b")])
    assert len(linked.links) == 2
    again = found.add([Example("new", group="a"), Example("newer", group="b")])
    assert len(set(again.clusters.tolist())) == 1


def test_official_splits_are_kept_and_what_leaks_is_refused(tmp_path: Path) -> None:
    found = dataset(tmp_path, splits={"official": "split"})
    first = found.add(
        [
            Example(varied([]), official="test"),
            Example(varied([3]), official="train"),
            Example("other", official="validation"),
            Example("free"),
        ]
    )
    assert first.outcomes.tolist() == [
        Outcome.ACCEPTED,
        Outcome.OFFICIAL_SPLIT_LEAKS,
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
    ]
    assert found.sides[varied([]), 0] == "test"
    assert found.sides["other", 0] == "validation"
    later = found.add([Example("OTHER", official="train"), Example("Other")])
    assert later.outcomes.tolist() == [Outcome.OFFICIAL_SPLIT_LEAKS, Outcome.ACCEPTED]


def test_conflicting_labels_are_counted_or_the_later_one_is_refused(tmp_path: Path) -> None:
    rows = [Example("same", 1), Example("same", 2), Example("Same", 1), Example("alone", 1)]
    kept = dataset(tmp_path).add(rows)
    assert kept.outcomes.tolist() == [Outcome.ACCEPTED] * 4
    assert kept.conflicting.tolist() == [True, True, True, False]
    strict = dataset(tmp_path, conflicts="reject")
    assert strict.add(rows).outcomes.tolist() == [0, Outcome.CONFLICTING_LABEL, 0, 0]
    assert strict.add([Example("SAME", 3), Example("alone!", 2), Example("SAME", 1)]).outcomes.tolist() == [
        Outcome.CONFLICTING_LABEL,
        Outcome.ACCEPTED,
        Outcome.ACCEPTED,
    ]


def test_stratified_validation_has_every_labels_share(tmp_path: Path) -> None:
    found = dataset(tmp_path, splits={"stratify": True, "validation": 0.17, "test": 0.15})
    found.add([Example(f"text {n}", label=1 if n % 10 else 2) for n in range(2000)])
    counts = Counter((label, where) for (_, label), where in found.sides.items())
    for label in (1, 2):
        candidates = counts[label, "validation"] + counts[label, "train"]
        assert abs(counts[label, "validation"] - 0.2 * candidates) < 1
    single = dataset(tmp_path, splits={"stratify": True, "validation": 0.17, "test": 0.15})
    for n in range(60):
        single.add([Example(f"text {n}", label=1)])
    assert 2 <= Counter(single.sides.values())["validation"] <= 24


def test_the_newest_rows_of_a_batch_validate_by_time_and_test_stays_by_hash(tmp_path: Path) -> None:
    found = dataset(tmp_path, splits={"by_time": "at"})
    found.add([Example(f"text {n}", time=float(n)) for n in range(1000)])
    validation = [int(text.split()[1]) for (text, _), where in found.sides.items() if where == "validation"]
    train = [int(text.split()[1]) for (text, _), where in found.sides.items() if where == "train"]
    assert 80 < len(validation) < 120
    assert min(validation) > max(train)
    for (text, _), where in found.sides.items():
        assert (where == "test") == (side("tests", text, Splits()) == "test")
