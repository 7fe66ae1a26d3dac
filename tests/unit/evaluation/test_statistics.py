import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF
from sklearn.metrics import f1_score

from services.evaluation.kinds import answers
from services.evaluation.statistics import exponential, f1, mean, ratio

LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=40)
SENTENCES = st.lists(st.text("abc é.", max_size=20), min_size=1, max_size=8)


def test_accuracy_is_the_share_of_right_rows() -> None:
    assert mean([1.0, 0.0, 1.0, 1.0]).value == 0.75


def test_chat_loss_is_weighted_by_tokens_not_by_rows() -> None:
    loss = ratio([10.0, 1.0], [10, 4])
    assert loss.value == pytest.approx(11 / 14)
    assert exponential(loss).value == pytest.approx(math.exp(11 / 14))


def test_an_absurd_loss_gives_a_finite_perplexity() -> None:
    assert math.isfinite(exponential(ratio([1e9], [1])).value)


def test_f1_by_hand() -> None:
    truth, guesses = ["a", "a", "a", "b"], ["a", "a", "b", "b"]
    of_a, of_b = 2 * 2 / (3 + 2), 2 * 1 / (1 + 2)
    assert f1(truth, guesses, weighted=False).value == pytest.approx((of_a + of_b) / 2)
    assert f1(truth, guesses, weighted=True).value == pytest.approx(0.75 * of_a + 0.25 * of_b)


@given(LABELS)
def test_f1_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    truth, guesses = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    for weighted, average in ((False, "macro"), (True, "weighted")):
        expected = f1_score(truth, guesses, average=average, zero_division=0.0)
        assert f1(truth, guesses, weighted=weighted).value == pytest.approx(expected)


@given(SENTENCES, SENTENCES)
def test_chrf_equals_sacrebleus(hypotheses: list[str], references: list[str]) -> None:
    rows = min(len(hypotheses), len(references))
    hypotheses, references = hypotheses[:rows], references[:rows]
    expected = CHRF().corpus_score(hypotheses, [references]).score
    assert answers.chrf(hypotheses, references).value == pytest.approx(expected)


def test_chrf_of_resampled_rows_is_that_of_the_repeated_sentences() -> None:
    hypotheses, references = ["turn the key", "push it"], ["turn a key", "pull the door"]
    measure = answers.chrf(hypotheses, references)
    sums = np.array([[2.0, 1.0]]) @ measure.statistics
    twice = answers.chrf([hypotheses[0], *hypotheses], [references[0], *references])
    assert measure.score(sums)[0] == pytest.approx(twice.value)


def test_chrf_quotes_its_signature() -> None:
    assert answers.chrf_signature().startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_rouge_l_by_hand() -> None:
    # The longest common subsequence of words is "turn key": 2 of 3 words here, 2 of 4 there.
    (score,) = answers.rouge_l(["turn key now"], ["please turn the key"])
    assert score == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_an_empty_answer_scores_zero_and_not_nan() -> None:
    assert answers.chrf([""], ["turn the key"]).value == 0.0
    assert answers.rouge_l([""], ["turn the key"]) == [0.0]
