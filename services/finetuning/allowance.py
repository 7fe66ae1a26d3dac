"""What a job's budget allows its training process: seconds and steps. Cost units become seconds here."""

from dataclasses import dataclass

from shared.storage.repositories import budgets
from shared.storage.tables import Job


@dataclass(frozen=True)
class Allowance:
    """None: no limit."""

    seconds: float | None
    steps: int | None
    words: str = ""
    """Says where the seconds come from when they are not the budget's own."""


def allowance(job: Job, rate: float) -> Allowance:
    """Of a job on a device that costs `rate` units a second."""
    budget = budgets.allowed(job)
    if budget.cost is None or rate <= 0 or budget.cost / rate >= (budget.seconds or float("inf")):
        return Allowance(budget.seconds, budget.steps)
    return Allowance(budget.cost / rate, budget.steps, f" ({budget.cost:g} cost units at {rate:g} a second)")
