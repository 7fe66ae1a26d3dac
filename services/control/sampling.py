"""What a search tries next and what it gives up: Optuna's TPE (Bergstra et al. 2011, Watanabe 2023) and asynchronous
successive halving (ASHA, Li et al. 2020), asked with the whole history each time.

Nothing is kept between two questions: the history is in the database, so whoever leads next, after whatever end of the
leader before, decides the same. Trials of one round know those of earlier rounds only, so that timing decides nothing.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from services.control.trials import Trial
from shared.pipelines.kinds import METRICS
from shared.pipelines.searching import Choice, Range, SearchPlan

RANDOM_TRIALS = 10
"""At most so many are drawn at random before TPE has something to go by; at most half of all."""
HALVING = 3
"""One trial in three goes on from the first, third, ninth … validation."""
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def propose(plan: SearchPlan, kind: str, history: Sequence[Trial], number: int) -> dict[str, Any]:
    """The values that trial `number` (from 0) tries, by key; decided by the plan and the earlier trials alone."""
    distributions = {key: _distribution(one) for key, one in plan.dimensions().items()}
    seed = int.from_bytes(sha256(f"{plan.seed}/{number}".encode()).digest()[:4], "big")
    sampler = TPESampler(seed=seed, n_startup_trials=min(RANDOM_TRIALS, max(1, plan.trials // 2)))
    study = _study(plan, kind, sampler=sampler)
    for past in history:
        complete = past.state == "complete"
        study.add_trial(
            create_trial(
                state=STATES[past.state],
                params=past.params,
                distributions=distributions,
                value=past.value if complete else None,
                intermediate_values=dict(enumerate(past.reports, 1)),
            )
        )
    return dict(study.ask(fixed_distributions=distributions).params)


def given_up(plan: SearchPlan, kind: str, history: Sequence[Trial], reports: Sequence[float]) -> int | None:
    """The validation (from 1) after which a trial falls behind the earlier ones; None while it does not."""
    study = _study(plan, kind, sampler=RandomSampler(seed=0), pruner=SuccessiveHalvingPruner(1, HALVING))
    for past in history:
        if past.state == "failed":
            continue
        trial = study.ask()
        _first_behind(trial, past.reports)
        study.tell(trial, state=TrialState.PRUNED)
    return _first_behind(study.ask(), reports)


def _first_behind(trial: optuna.Trial, reports: Sequence[float]) -> int | None:
    for number, value in enumerate(reports, 1):
        trial.report(value, number)
        if trial.should_prune():
            return number
    return None


def _study(plan: SearchPlan, kind: str, **how: Any) -> Study:
    optuna.logging.set_verbosity(logging.ERROR)
    direction = "maximize" if METRICS[kind][plan.metric] == "higher" else "minimize"
    return optuna.create_study(direction=direction, **how)


def _distribution(dimension: Range | Choice) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
