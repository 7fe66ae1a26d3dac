"""What a job may cost, and what it has cost so far, over all its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from shared.errors import InvalidArgument
from shared.storage.tables import Job, Run


@dataclass(frozen=True)
class Amount:
    """None: no limit, or not known."""

    seconds: float | None = None
    """Spent training."""
    steps: int | None = None
    cost: float | None = None
    """Cost units: seconds times the rate of the device kind."""

    def given(self) -> dict[str, float]:
        """The keys that are set."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def allowed(job: Job) -> Amount:
    """The budget of the job's spec, with what its owner changed since."""
    declared: Mapping[str, float | None] = {**(job.spec.get("budget") or {}), **(job.budget or {})}
    return Amount(**{field.name: declared.get(field.name) for field in fields(Amount)})  # type: ignore[arg-type]


def spent(runs: Sequence[Run], rate: float) -> Amount:
    """What all runs of a job cost together; `rate` is in cost units a second."""
    seconds = max((run.seconds for run in runs), default=0.0)
    return Amount(seconds, max((run.step for run in runs), default=0), round(seconds * rate, 6))


def raise_budget(job: Job, more: Amount, already: Amount) -> None:
    """Changes keys of a job's budget. Raises InvalidArgument for one that is used up already."""
    used = already.given()
    for key, value in more.given().items():
        if value <= used.get(key, 0.0):
            raise InvalidArgument(
                f"budget.{key}: {value:g} is used up already: job {job.id} has spent {used.get(key, 0.0):g}; give more",
                field=f"budget.{key}",
            )
    job.budget = {**(job.budget or {}), **more.given()}
