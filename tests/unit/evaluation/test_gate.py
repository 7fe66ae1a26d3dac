import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.evaluation import gate
from services.evaluation.gate import Compared, Evidence, Verdict, judge
from shared.pipelines.schema import Comparison, Gate

NUMBERS = st.floats(-10, 10) | st.sampled_from([math.nan, math.inf, -math.inf])
NAMES = st.sampled_from(["accuracy", "macro_f1", "loss"])
METRICS = st.dictionaries(NAMES, NUMBERS)
LIMITS = st.dictionaries(NAMES, st.floats(-10, 10), max_size=2)
RULES = st.none() | st.builds(Comparison, metric=NAMES, margin=st.floats(0, 1), confidence=st.sampled_from([0.5, 0.95]))
COMPARED = st.none() | st.builds(
    Compared,
    metric=NAMES,
    candidate=NUMBERS,
    other=NUMBERS,
    difference=NUMBERS,
    low=NUMBERS,
    rows=st.integers(1, 99),
)
GATES = st.builds(Gate, floors=LIMITS, ceilings=LIMITS, champion=RULES, base=RULES)
EVIDENCE = st.builds(
    Evidence,
    test_rows=st.integers(0, 100),
    metrics=METRICS,
    champion=st.none() | st.just(3),
    against_champion=COMPARED,
    against_base=COMPARED,
    unknown_classes=st.dictionaries(st.sampled_from("ab"), st.integers(1, 9), max_size=1),
)


def evidence(**changes: Any) -> Evidence:
    given = {"test_rows": 200, "metrics": {"accuracy": 0.8, "loss": 0.5}, "champion": None}
    return Evidence(**{**given, **changes})


def compared(difference: float, low: float, metric: str = "accuracy") -> Compared:
    return Compared(metric, 0.7 + difference, 0.7, difference, low, 200)


def codes(verdict: Verdict) -> list[str]:
    return [reason.code for reason in verdict.reasons if not reason.passed]


FLOOR = Gate(floors={"accuracy": 0.6})
AGAINST_CHAMPION = Gate(champion=Comparison(metric="accuracy", margin=0.01))


@given(GATES, EVIDENCE)
def test_a_pass_means_that_everything_was_shown(rules: Gate, seen: Evidence) -> None:
    verdict = judge(rules, seen)
    assert verdict.passed == all(reason.passed for reason in verdict.reasons)
    if not verdict.passed:
        assert verdict.first_failure
        return
    assert seen.test_rows >= gate.LEAST_TEST_ROWS
    assert not seen.unknown_classes
    assert all(math.isfinite(value) for value in seen.metrics.values())
    assert all(seen.metrics[name] >= floor for name, floor in rules.floors.items())
    assert all(seen.metrics[name] <= ceiling for name, ceiling in rules.ceilings.items())
    for rule, result in ((rules.base, seen.against_base), (seen.champion and rules.champion, seen.against_champion)):
        assert not rule or (result is not None and result.low > -rule.margin)
    assert rules.floors or rules.ceilings or rules.base or (rules.champion and seen.champion)


@given(GATES, EVIDENCE)
def test_every_rule_is_told_with_a_sentence(rules: Gate, seen: Evidence) -> None:
    reasons = judge(rules, seen).reasons
    named = len(rules.floors) + len(rules.ceilings) + (rules.base is not None) + (rules.champion is not None)
    assert len(reasons) >= 1 + named
    assert all(reason.message for reason in reasons)


@given(GATES, EVIDENCE)
def test_worse_than_the_champion_is_only_said_of_what_measured_worse(rules: Gate, seen: Evidence) -> None:
    verdict = judge(rules, seen)
    if verdict.worse_than_champion:
        assert not verdict.passed
        assert seen.champion is not None
        assert seen.against_champion is not None
        assert seen.against_champion.difference < 0


@given(GATES, EVIDENCE, st.floats(0, 5))
def test_a_stricter_floor_never_lets_a_refused_version_pass(rules: Gate, seen: Evidence, more: float) -> None:
    stricter = rules.model_copy(update={"floors": {name: floor + more for name, floor in rules.floors.items()}})
    assert judge(rules, seen).passed or not judge(stricter, seen).passed


def test_a_floor_is_passed_by_reaching_it() -> None:
    assert judge(FLOOR, evidence(metrics={"accuracy": 0.6})).passed
    assert codes(judge(FLOOR, evidence(metrics={"accuracy": 0.599}))) == [gate.BELOW_FLOOR]


def test_a_ceiling_is_passed_by_reaching_it() -> None:
    rules = Gate(ceilings={"loss": 0.5})
    assert judge(rules, evidence()).passed
    assert codes(judge(rules, evidence(metrics={"loss": 0.51}))) == [gate.ABOVE_CEILING]


def test_without_rules_nothing_passes() -> None:
    assert codes(judge(Gate(), evidence())) == [gate.NO_THRESHOLDS]


def test_a_champion_rule_alone_can_not_let_a_first_version_pass() -> None:
    assert codes(judge(AGAINST_CHAMPION, evidence())) == [gate.NO_THRESHOLDS]
    assert judge(AGAINST_CHAMPION, evidence(champion=1, against_champion=compared(0.05, 0.02))).passed


@pytest.mark.parametrize(("rows", "code"), [(0, gate.NO_TEST_ROWS), (19, gate.TOO_FEW_TEST_ROWS)])
def test_too_few_test_rows_fail(rows: int, code: str) -> None:
    assert code in codes(judge(FLOOR, evidence(test_rows=rows)))


def test_a_missing_metric_fails() -> None:
    assert codes(judge(FLOOR, evidence(metrics={}))) == [gate.MISSING_METRIC]
    assert codes(judge(Gate(base=Comparison(metric="loss")), evidence())) == [gate.MISSING_METRIC]
    assert codes(judge(AGAINST_CHAMPION, evidence(champion=1))) == [gate.MISSING_METRIC]


def test_a_metric_that_is_not_finite_fails_even_when_no_rule_names_it() -> None:
    assert codes(judge(FLOOR, evidence(metrics={"accuracy": 0.9, "loss": math.nan}))) == [gate.NOT_FINITE]
    assert codes(judge(FLOOR, evidence(metrics={"accuracy": math.inf}))) == [gate.NOT_FINITE]
    nan = compared(math.nan, math.nan)
    assert codes(judge(AGAINST_CHAMPION, evidence(champion=1, against_champion=nan))) == [gate.NOT_FINITE]


def test_a_class_that_the_version_can_not_give_fails() -> None:
    verdict = judge(FLOOR, evidence(unknown_classes={"neutral": 4}))
    assert codes(verdict) == [gate.UNKNOWN_CLASS]
    assert "4 test rows are labelled 'neutral'" in verdict.reasons[1].message


def test_worse_than_the_champion_by_more_than_the_margin_fails_and_says_so() -> None:
    verdict = judge(AGAINST_CHAMPION, evidence(champion=2, against_champion=compared(-0.2, -0.25)))
    assert codes(verdict) == [gate.WORSE_THAN_CHAMPION]
    assert verdict.worse_than_champion
    assert "accuracy 0.5000 against 0.7000 of the champion (version 2) on 200 rows" in verdict.reasons[-1].message


def test_the_margin_itself_is_too_much() -> None:
    at = judge(AGAINST_CHAMPION, evidence(champion=2, against_champion=compared(0.0, -0.01)))
    within = judge(AGAINST_CHAMPION, evidence(champion=2, against_champion=compared(0.0, -0.0099)))
    assert (at.passed, within.passed) == (False, True)


def test_a_better_version_on_too_few_rows_to_be_sure_is_refused_but_its_rows_are_not_suspected() -> None:
    verdict = judge(AGAINST_CHAMPION, evidence(champion=2, against_champion=compared(0.02, -0.03)))
    assert codes(verdict) == [gate.WORSE_THAN_CHAMPION]
    assert not verdict.worse_than_champion


def test_worse_than_the_base_fails_without_suspecting_the_rows() -> None:
    verdict = judge(Gate(base=Comparison(metric="loss")), evidence(against_base=compared(-0.2, -0.3, "loss")))
    assert codes(verdict) == [gate.WORSE_THAN_BASE]
    assert not verdict.worse_than_champion
