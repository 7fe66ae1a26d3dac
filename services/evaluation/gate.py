"""The gate: scores and comparisons in, verdict and reasons out. Pure; it fails closed.

Whatever can't be shown to pass fails: no rules, no test rows, a metric that is missing or not finite.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.pipelines import schema

LEAST_TEST_ROWS = 20
"""Fewer rows tell two models apart in no useful way."""

NO_TEST_ROWS = "NO_TEST_ROWS"
TOO_FEW_TEST_ROWS = "TOO_FEW_TEST_ROWS"
NO_THRESHOLDS = "NO_THRESHOLDS"
UNKNOWN_CLASS = "UNKNOWN_CLASS"
MISSING_METRIC = "MISSING_METRIC"
NOT_FINITE = "NOT_FINITE"
BELOW_FLOOR = "BELOW_FLOOR"
ABOVE_CEILING = "ABOVE_CEILING"
WORSE_THAN_CHAMPION = "WORSE_THAN_CHAMPION"
WORSE_THAN_BASE = "WORSE_THAN_BASE"


@dataclass(frozen=True)
class Compared:
    """The candidate against another model by one metric, on the same rows."""

    metric: str
    candidate: float
    other: float
    difference: float
    """How much better the candidate is, whichever way the metric points."""
    low: float
    """The difference is above this with the rule's confidence."""
    rows: int


@dataclass(frozen=True)
class Evidence:
    """What was measured on the test rows."""

    test_rows: int
    metrics: Mapping[str, float]
    champion: int | None
    """The champion's version, when there is a champion."""
    against_champion: Compared | None = None
    against_base: Compared | None = None
    unknown_classes: Mapping[str, int] | None = None
    """Classes of test rows that the candidate does not know, with their number of rows."""


@dataclass(frozen=True)
class Reason:
    """One rule, and whether the candidate passed it."""

    code: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: tuple[Reason, ...]
    worse_than_champion: bool
    """It measured below the champion and was refused for it: the data that it has beyond the champion's is
    suspicious. Not set for one that measured better, but on too few rows to be sure."""

    @property
    def word(self) -> str:
        return "pass" if self.passed else "fail"

    @property
    def first_failure(self) -> str:
        """Code of the first rule that failed; empty when none did."""
        return next((reason.code for reason in self.reasons if not reason.passed), "")


def judge(gate: schema.Gate, evidence: Evidence) -> Verdict:
    """Every rule in turn. The version passes when there is a rule and none failed."""
    against_champion = _not_worse_than_champion(gate, evidence)
    reasons = (
        *_enough_rows(evidence),
        *_known_classes(evidence),
        *_finite(evidence),
        *(_threshold(evidence, metric, floor, BELOW_FLOOR) for metric, floor in gate.floors.items()),
        *(_threshold(evidence, metric, ceiling, ABOVE_CEILING) for metric, ceiling in gate.ceilings.items()),
        *_not_worse_than_base(gate, evidence),
        *against_champion,
        *_some_rule(gate, evidence),
    )
    beaten = any(reason.code == WORSE_THAN_CHAMPION and not reason.passed for reason in against_champion)
    compared = evidence.against_champion
    worse = beaten and compared is not None and compared.difference < 0
    return Verdict(all(reason.passed for reason in reasons), reasons, worse)


def _enough_rows(evidence: Evidence) -> Iterator[Reason]:
    rows = evidence.test_rows
    if rows == 0:
        yield Reason(NO_TEST_ROWS, False, "there are no test rows to judge by")
    else:
        enough = rows >= LEAST_TEST_ROWS
        yield Reason(TOO_FEW_TEST_ROWS, enough, f"{rows} test rows; at least {LEAST_TEST_ROWS} are needed")


def _known_classes(evidence: Evidence) -> Iterator[Reason]:
    for name, rows in (evidence.unknown_classes or {}).items():
        yield Reason(
            UNKNOWN_CLASS,
            False,
            f"{rows} test rows are labelled {name!r}, which the version never saw in training: "
            "send train rows for it, or hold its batch",
        )


def _finite(evidence: Evidence) -> Iterator[Reason]:
    """A model that computes NaN may still score by luck."""
    for metric, value in evidence.metrics.items():
        if not math.isfinite(value):
            yield Reason(NOT_FINITE, False, f"{metric} is {value}")


def _threshold(evidence: Evidence, metric: str, limit: float, code: str) -> Reason:
    value = evidence.metrics.get(metric)
    if value is None:
        return Reason(MISSING_METRIC, False, f"{metric} was not measured, and its limit is {limit:g}")
    if code == BELOW_FLOOR:
        return Reason(code, value >= limit, f"{metric} {value:.4f}; at least {limit:g} is asked for")
    return Reason(code, value <= limit, f"{metric} {value:.4f}; at most {limit:g} is allowed")


def _not_worse_than_base(gate: schema.Gate, evidence: Evidence) -> Iterator[Reason]:
    if gate.base is not None:
        yield _comparison(gate.base, evidence.against_base, WORSE_THAN_BASE, "the base model")


def _not_worse_than_champion(gate: schema.Gate, evidence: Evidence) -> tuple[Reason, ...]:
    if gate.champion is None:
        return ()
    if evidence.champion is None:
        return (Reason(WORSE_THAN_CHAMPION, True, "there is no champion yet to compare with"),)
    name = f"the champion (version {evidence.champion})"
    return (_comparison(gate.champion, evidence.against_champion, WORSE_THAN_CHAMPION, name),)


def _comparison(rule: schema.Comparison, compared: Compared | None, code: str, name: str) -> Reason:
    if compared is None:
        return Reason(MISSING_METRIC, False, f"{rule.metric} could not be compared with that of {name}")
    figures = f"{rule.metric} {compared.candidate:.4f} against {compared.other:.4f} of {name} on {compared.rows} rows"
    if not (math.isfinite(compared.difference) and math.isfinite(compared.low)):
        return Reason(NOT_FINITE, False, f"{figures}: no finite difference")
    passed = compared.low > -rule.margin
    bound = (
        f"better by {compared.difference:+.4f}, with {rule.confidence:.0%} confidence by more than {compared.low:+.4f}"
    )
    return Reason(code, passed, f"{figures}: {bound}; more than {-rule.margin:+g} is asked for")


def _some_rule(gate: schema.Gate, evidence: Evidence) -> Iterator[Reason]:
    against_champion = gate.champion is not None and evidence.champion is not None
    if gate.floors or gate.ceilings or gate.base or against_champion:
        return
    message = "the gate has no rule that applies: set floors or ceilings"
    if gate.champion is not None:
        message += ", or base, for as long as there is no champion to compare with"
    yield Reason(NO_THRESHOLDS, False, message)
