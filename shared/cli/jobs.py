"""`flywheel train`, `jobs`, `watch`, `cancel`, `pause`, `resume`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.options import AsJson, Home, Limit, OfPipeline, Pipeline, connect
from shared.cli.output import clock_time, console, print_json, seconds, table

if TYPE_CHECKING:
    from shared.client.operations import Budget, Job

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
DatasetVersion = Annotated[int, typer.Option(help="Dataset version; the newest sealed one when absent.")]
Clone = Annotated[str, typer.Option("--clone", metavar="JOB", help="Take this job's settings and dataset version.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for this job, such as method.learning_rate=1e-4."),
]
Key = Annotated[str, typer.Option(help="The same key gives the same job.")]
Priority = Annotated[
    int | None,
    typer.Option(
        min=-100, max=100, help="In the queue; higher goes first. The pipeline's when absent.", show_default=False
    ),
]
More = Annotated[
    list[str] | None,
    typer.Option("--budget", metavar="KEY=VALUE", help="What it may cost in all: seconds=2h, steps=5000 or cost=100."),
]
AnyRevision = Annotated[
    bool, typer.Option("--allow-revision", help="Go on also at a checkpoint that another code revision made.")
]


def train(
    pipeline: Pipeline,
    dataset_version: DatasetVersion = 0,
    clone: Clone = "",
    changes: Changes = None,
    priority: Priority = None,
    idempotency_key: Key = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Start training by hand, as the pipeline says or as an earlier job did, with other values for some keys."""
    with connect(home) as client:
        job = client.train(
            pipeline,
            dataset_version=dataset_version,
            idempotency_key=idempotency_key,
            clone_of=clone,
            changes=settings(changes or []),
            priority=priority,
        )
    if as_json:
        return print_json(job)
    why = f" ({job.reason})" if job.state == "queued" and job.reason else ""
    return console().print(f"job {job.id} is {job.state}{why}; follow it with: flywheel watch {job.id}")


def jobs(pipeline: OfPipeline = "", limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    with connect(home) as client:
        found = client.jobs(pipeline, limit)
    if as_json:
        return print_json(found)
    columns = ("job", "pipeline", "data#", "state", "trigger", "step", "loss#", "left#", "done at", "heard at")
    return console().print(table((*columns, "made", "created", "reason"), [_row(job) for job in found]))


def watch(job: JobId, home: Home = None, as_json: AsJson = False) -> None:
    """Follow a job: progress, rate, time left, loss. Ends with the job."""
    from shared.cli.watching import follow

    with connect(home) as client:
        last = follow(client, job, as_json)
    if last.state != "succeeded":
        raise typer.Exit(1)


def cancel(job: JobId, home: Home = None) -> None:
    """Stop a job."""
    with connect(home) as client:
        _say(client.cancel(job))


def pause(job: JobId, home: Home = None) -> None:
    """Stop a job at a checkpoint."""
    with connect(home) as client:
        _say(client.pause(job))


def resume(job: JobId, budget: More = None, allow_revision: AnyRevision = False, home: Home = None) -> None:
    """Queue a job again that was paused or used up its budget; it goes on at its checkpoint."""
    with connect(home) as client:
        _say(client.resume(job, budget=_budget(budget or []), allow_revision=allow_revision))


def _budget(pairs: list[str]) -> "Budget":
    """Of `seconds=2h`, `steps=5000`, `cost=100`."""
    from pydantic import TypeAdapter, ValidationError

    from shared.client.operations import Budget
    from shared.pipelines.part import Seconds

    kinds: dict[str, TypeAdapter[Any]] = {
        "seconds": TypeAdapter(Seconds),
        "steps": TypeAdapter(int),
        "cost": TypeAdapter(float),
    }
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in kinds:
            raise typer.BadParameter(f"{pair!r} should read seconds=…, steps=… or cost=…", param_hint="--budget")
        try:
            found[key] = kinds[key].validate_python(value)
        except ValidationError as error:
            raise typer.BadParameter(f"{pair!r}: {error.errors()[0]['msg']}", param_hint="--budget") from None
    return Budget(**found)


def settings(pairs: list[str], option: str = "--set") -> dict[str, object]:
    """`key=value` pairs with their values read as YAML, as in a pipeline file."""
    from shared.pipelines.changing import parse_value

    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{pair!r} should read KEY=VALUE", param_hint=option)
        if key in found:
            raise typer.BadParameter(f"{key} is given twice", param_hint=option)
        found[key] = parse_value(value)
    return found


def _say(job: "Job") -> None:
    console().print(f"job {job.id} is {job.state}")


def _row(job: "Job") -> tuple[object, ...]:
    step = f"{job.step}/{job.total_steps}" if job.total_steps else "–"
    left = seconds(job.eta) if job.state == "running" and job.eta is not None else "–"
    made = f"v{job.model_version}" if job.model_version else "–"
    done_at, heard_at = (clock_time(when) for when in (job.estimated_finish, None if job.is_over else job.last_heard))
    shown = (job.id, job.pipeline, job.dataset_version, job.state, job.trigger)
    return (*shown, step, job.loss, left, done_at, heard_at, made, job.created_at, job.reason)
