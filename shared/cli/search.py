"""`flywheel search` and `flywheel searches`."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.jobs import DatasetVersion, Key, settings
from shared.cli.options import AsJson, Home, Limit, OfPipeline, Pipeline, connect
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.client import FlywheelClient
    from shared.client.operations import Search, SearchTrial

LOOK_SECONDS = 1.0
Trials = Annotated[int | None, typer.Option(min=1, help="So many settings are tried (20).")]
Space = Annotated[
    list[str] | None,
    typer.Option("--space", metavar="KEY=WHAT", help="What is tried: low..high, log:low..high or [a, list]."),
]
Metric = Annotated[str | None, typer.Option(help="Metric of the validation split that is compared (loss).")]
Parallel = Annotated[int | None, typer.Option(min=1, help="Trials that run at the same time (1).")]
Seed = Annotated[int | None, typer.Option(min=0, help="The same seed tries the same settings (0).")]
Pruning = Annotated[bool | None, typer.Option(help="Stop trials that fall behind (on).", show_default=False)]
Detach = Annotated[bool, typer.Option("--detach", help="Begin it and do not wait.")]
SearchId = Annotated[str, typer.Argument(metavar="[SEARCH]", help="Its trials; all searches when absent.")]
Stop = Annotated[bool, typer.Option("--cancel", help="End the search and its trials.")]


def search(
    pipeline: Pipeline,
    trials: Trials = None,
    space: Space = None,
    metric: Metric = None,
    parallel: Parallel = None,
    seed: Seed = None,
    pruning: Pruning = None,
    dataset_version: DatasetVersion = 0,
    idempotency_key: Key = "",
    detach: Detach = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Try settings of a pipeline; the best becomes a version. What is not given is the pipeline file's `search`."""
    given = {"trials": trials, "metric": metric, "parallel": parallel, "seed": seed, "pruning": pruning}
    plan: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if space:
        plan["space"] = settings(space, "--space")
    with connect(home) as client:
        begun = client.search(pipeline, plan, dataset_version=dataset_version, idempotency_key=idempotency_key)
        if not as_json:
            console().print(f"search {begun.id} tries {begun.plan['trials']:.0f} settings of {pipeline}")
        if not detach:
            begun = _follow(client, begun, quiet=as_json)
    if as_json:
        print_json(begun)
    if not detach and begun.state != "succeeded":
        raise typer.Exit(1)


def searches(
    search: SearchId = "",
    pipeline: OfPipeline = "",
    cancel: Stop = False,
    limit: Limit = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List searches, show or cancel one."""
    if cancel and not search:
        raise typer.BadParameter("--cancel needs a SEARCH")
    with connect(home) as client:
        if not search:
            found = client.searches(pipeline, limit)
            return print_json(found) if as_json else _show(found)
        one = client.cancel_search(search) if cancel else client.search_status(search)
    return print_json(one) if as_json else _show_trials(one)


def _follow(client: "FlywheelClient", search: "Search", quiet: bool) -> "Search":
    """Tells of every trial as it begins and ends, until the search is over."""
    told: dict[int, str] = {}
    while True:
        now = client.search_status(search.id)
        for trial in now.trials:
            if not quiet and told.get(trial.number) != trial.state:
                console().print(_line(now, trial))
            told[trial.number] = trial.state
        if now.is_over:
            if not quiet:
                console().print(f"search {now.id} {now.state}: {now.reason}")
            return now
        time.sleep(LOOK_SECONDS)


def _line(search: "Search", trial: "SearchTrial") -> str:
    tried = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    best = next((one for one in search.trials if one.number == search.best), None)
    value = f" {search.plan['metric']} {trial.value:.6g}" if trial.value is not None else ""
    so_far = f" (best: trial {best.number}, {best.value:.6g})" if best and best.value is not None else ""
    return f"trial {trial.number} {trial.state}{value}: {tried}{so_far}"


def _show(found: list["Search"]) -> None:
    columns = ("search", "pipeline", "data#", "state", "best#", "made", "created", "reason")
    rows = [
        (
            one.id,
            one.pipeline,
            one.dataset_version,
            one.state,
            one.best,
            f"v{one.model_version}" if one.model_version else "–",
            one.created_at,
            one.reason,
        )
        for one in found
    ]
    console().print(table(columns, rows))


def _show_trials(search: "Search") -> None:
    console().print(f"search {search.id} {search.state}{': ' + search.reason if search.reason else ''}")
    keys = sorted({key for trial in search.trials for key in trial.params})
    rows = [
        (
            trial.number,
            trial.state,
            trial.value,
            len(trial.reports),
            *(_short(trial.params.get(key)) for key in keys),
            "best" if trial.number == search.best else trial.job,
        )
        for trial in search.trials
    ]
    console().print(table(("trial#", "state", f"{search.plan['metric']}#", "validations#", *keys, "job"), rows))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
