import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.evaluation.bootstrap import Interval, mcnemar, paired_bootstrap, seed_from
from services.evaluation.statistics import mean, ratio

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])), min_size=2, max_size=60
)


def bootstrap(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95, higher: bool = True, seed: int = 7
) -> Interval:
    return paired_bootstrap(
        mean(first), mean(second), higher_is_better=higher, confidence=confidence, seed=seed, resamples=2000
    )


def columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@settings(max_examples=50)
@given(SCORES)
def test_a_model_against_itself_is_neither_better_nor_worse(pairs: list[tuple[float, float]]) -> None:
    first, _ = columns(pairs)
    assert bootstrap(first, first) == Interval(0.0, 0.0, 0.0, 0.0)


@settings(max_examples=50)
@given(SCORES, st.integers(0, 2**63))
def test_swapping_the_models_or_the_direction_turns_the_interval_round(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    first, second = columns(pairs)
    ahead = bootstrap(first, second, seed=seed)
    turned = bootstrap(first, second, higher=False, seed=seed)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-ahead.difference, -ahead.high, -ahead.low))
    swapped = bootstrap(second, first, seed=seed)
    assert swapped.difference == pytest.approx(-ahead.difference)


@settings(max_examples=50)
@given(SCORES)
def test_more_confidence_never_means_a_higher_bound(pairs: list[tuple[float, float]]) -> None:
    first, second = columns(pairs)
    bounds = [bootstrap(first, second, confidence).low for confidence in (0.5, 0.8, 0.95, 0.99)]
    assert bounds == sorted(bounds, reverse=True)


@settings(max_examples=50)
@given(SCORES)
def test_the_order_of_the_rows_does_not_matter(pairs: list[tuple[float, float]]) -> None:
    assert bootstrap(*columns(pairs)) == pytest.approx(bootstrap(*columns(pairs[::-1])))


def test_the_bound_is_the_textbooks_for_a_mean() -> None:
    random = np.random.default_rng(3)
    difference = random.normal(0.1, 1.0, 400)
    interval = bootstrap(difference.tolist(), [0.0] * 400)
    expected = difference.mean() - 1.645 * difference.std() / math.sqrt(400)
    assert interval.low == pytest.approx(expected, abs=0.01)


def test_pairing_tells_apart_what_two_separate_intervals_can_not() -> None:
    random = np.random.default_rng(5)
    hard = random.normal(0, 10, 200)
    better = paired_bootstrap(mean(hard + 0.5), mean(hard), higher_is_better=True, confidence=0.95, seed=1)
    assert better.low == pytest.approx(0.5)


def test_grouping_equal_rows_changes_nothing_but_the_cost() -> None:
    right = [1.0] * 60_000 + [0.0] * 40_000
    also = [1.0] * 50_000 + [0.0] * 50_000
    interval = bootstrap(right, also)
    assert interval.difference == pytest.approx(0.1)
    assert interval.low == pytest.approx(0.1 - 1.645 * math.sqrt(0.09 / 100_000), abs=2e-4)


def test_losses_are_resampled_with_their_token_counts() -> None:
    first, second = ratio([1.0, 30.0], [1, 30]), ratio([2.0, 30.0], [1, 30])
    interval = paired_bootstrap(first, second, higher_is_better=False, confidence=0.95, seed=0)
    assert interval.difference == pytest.approx(1 / 31)


def test_not_finite_is_said_and_not_hidden() -> None:
    assert math.isnan(bootstrap([math.nan, 1.0], [1.0, 1.0]).low)
    assert math.isnan(bootstrap([math.inf, 1.0], [1.0, 1.0]).difference)


def test_equal_inputs_give_the_same_seed_and_others_another() -> None:
    assert seed_from("a", "b") == seed_from("a", "b") != seed_from("ab", "")


def test_mcnemar_by_hand() -> None:
    # 5 rows that only one gets right, all the same one: two-sided 2 / 2**5.
    result = mcnemar([True] * 5 + [True, False], [False] * 5 + [True, False])
    assert result == {"only_candidate_right": 5, "only_reference_right": 0, "p_value": pytest.approx(2 / 32)}
    assert mcnemar([True], [True])["p_value"] == 1.0
