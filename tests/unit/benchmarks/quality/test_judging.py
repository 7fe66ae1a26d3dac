import numpy as np
import pytest

from benchmarks.quality.judging import best, difference, point, pooled, score
from services.evaluation.statistics import f1, mean


def test_the_mean_of_seeds_is_the_pooled_score():
    measures = [mean([1.0, 0.0, 0.0, 0.0]), mean([1.0, 1.0, 1.0, 0.0])]
    assert pooled(measures).value == pytest.approx(0.5)


def test_seeds_may_have_tables_of_different_widths():
    truth = ["a", "b", "a"]
    measures = [f1(truth, ["a", "b", "a"], weighted=False), f1(truth, ["a", "c", "a"], weighted=False)]
    assert pooled(measures).value == pytest.approx((1 + (1 + 0 + 0) / 3) / 2)


def test_an_interval_holds_the_score_and_narrows_with_rows():
    right = [1.0, 0.0, 1.0, 1.0] * 10
    few, many = score([mean(right)]), score([mean(right * 25)])
    assert few.low < few.value < few.high
    assert few.value == many.value == pytest.approx(0.75)
    assert many.high - many.low < (few.high - few.low) / 3
    assert (few.rows, many.rows) == (40, 1000)


def test_an_interval_covers_what_theory_says():
    found = score([mean([1.0] * 500 + [0.0] * 500)])
    error = 1.96 * (0.25 / 1000) ** 0.5
    assert found.low == pytest.approx(0.5 - error, abs=0.004)
    assert found.high == pytest.approx(0.5 + error, abs=0.004)


def test_pairs_tell_apart_what_separate_intervals_would_not():
    random = np.random.default_rng(0)
    hard = random.random(300) < 0.5
    better = [mean((hard | (random.random(300) < 0.06)).astype(float))]
    ahead = difference("classification", "accuracy", better, [mean(hard.astype(float))])
    assert ahead.low > 0
    assert score(better).low < score([mean(hard.astype(float))]).high


def test_only_rows_that_both_answered_are_compared():
    ahead = difference("classification", "accuracy", [mean([1.0] * 20 + [0.0] * 80)], [mean([0.0] * 20)])
    assert ahead.difference == 1.0


def test_a_lower_loss_is_ahead():
    assert difference("classification", "loss", [mean([1.0, 1.2])], [mean([2.0, 2.2])]).difference == pytest.approx(1.0)
    losses = {"a": score([mean([1.0])]), "b": score([mean([2.0])])}
    assert best(losses, ["a", "b"], "lower") == "a"
    assert best(losses, ["a", "b"], "higher") == "b"


def test_a_point_is_a_hundredth_of_the_scale():
    assert point("accuracy", 0.8) == 0.01
    assert point("chrf", 40.0) == 1.0
    assert point("loss", 3.0) == pytest.approx(0.03)
