"""What a search tries and gives up depends on its plan and its history, and on nothing else."""

import math
from typing import Any

from services.control.sampling import given_up, propose
from services.control.trials import Trial, best
from shared.pipelines.searching import SearchPlan, State
from shared.storage.tables import Job

PLAN = SearchPlan(space={"method.learning_rate": "log:1e-5..1e-2", "method.epochs": "1..4"}, trials=24, seed=7)
KIND = "classification"
JOB = Job()


def loss(params: dict[str, Any]) -> float:
    return abs(math.log10(params["method.learning_rate"] / 3e-4))


def trial(number: int, state: State, params: dict[str, Any], reports: tuple[float, ...]) -> Trial:
    return Trial(number, JOB, state, params, reports, reports[-1] if state == "complete" else None)


def search(plan: SearchPlan) -> list[Trial]:
    """Every trial measures its loss three times, from above."""
    trials: list[Trial] = []
    for number in range(plan.trials):
        known = trials[: number // plan.parallel * plan.parallel]
        params = propose(plan, KIND, known, number)
        reports = tuple(loss(params) + 1 / epoch for epoch in (1, 2, 3))
        behind = given_up(plan, KIND, known, reports)
        state: State = "pruned" if behind else "complete"
        trials.append(trial(number, state, params, reports[: behind or 3]))
    return trials


def test_the_same_seed_tries_the_same_settings_and_another_seed_others() -> None:
    assert search(PLAN) == search(PLAN)
    other = search(PLAN.model_copy(update={"seed": 8}))
    assert other[0].params != search(PLAN)[0].params


def test_later_trials_come_closer_to_what_was_good() -> None:
    losses = [loss(one.params) for one in search(PLAN)]
    assert sum(losses[12:]) < sum(losses[:12])
    assert all(1e-5 <= one.params["method.learning_rate"] <= 1e-2 for one in search(PLAN))
    assert {type(one.params["method.epochs"]) for one in search(PLAN)} == {int}


def test_a_trial_knows_only_those_of_earlier_rounds() -> None:
    """So it matters not which of a round ends first."""
    rounds = PLAN.model_copy(update={"parallel": 4, "trials": 8})
    first = search(rounds)[:4]
    again = [propose(rounds, KIND, [], number) for number in range(4)]
    assert [one.params for one in first] == again
    assert len({one["method.learning_rate"] for one in again}) == 4


def test_who_falls_behind_is_given_up_and_the_first_three_never_before_there_is_a_comparison() -> None:
    good = [trial(number, "complete", {}, (0.5, 0.4, 0.3)) for number in range(3)]
    assert given_up(PLAN, KIND, [], (9.0, 9.0, 9.0)) is None
    assert given_up(PLAN, KIND, good, (0.9,)) == 1
    assert given_up(PLAN, KIND, good, (0.4,)) is None
    assert given_up(PLAN, KIND, good, (0.4, 0.9, 0.9)) == 3, "the next comparison is after three validations"
    assert given_up(PLAN, KIND, good, ()) is None
    failed = [trial(number, "failed", {}, (9.0,)) for number in range(3)]
    assert given_up(PLAN, KIND, failed, (9.9,)) is None, "one that failed is nothing to compare with"
    higher = PLAN.model_copy(update={"metric": "accuracy"})
    assert given_up(higher, KIND, good, (0.9,)) is None
    assert given_up(higher, KIND, good, (0.1,)) == 1


def test_the_best_is_the_first_of_equals_among_those_that_are_complete() -> None:
    trials = [
        trial(0, "complete", {}, (0.5,)),
        trial(1, "pruned", {}, (0.1,)),
        trial(2, "complete", {}, (0.3,)),
        trial(3, "complete", {}, (0.3,)),
        trial(4, "failed", {}, ()),
    ]
    assert best(KIND, "loss", trials) == trials[2]
    assert best(KIND, "accuracy", trials) == trials[0]
    assert best(KIND, "loss", trials[4:]) is None
