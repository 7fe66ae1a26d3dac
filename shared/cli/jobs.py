"""`flywheel train`, `jobs`, `watch`, `cancel`, `pause`, `resume`."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, Limit, connect
from shared.cli.output import console, print_json, seconds, table

if TYPE_CHECKING:
    from shared.client.operations import Job

Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of the pipeline.")]
OfPipeline = Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline only.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
DatasetVersion = Annotated[int, typer.Option(help="Dataset version; the newest sealed one when absent.")]
Clone = Annotated[str, typer.Option("--clone", metavar="JOB", help="Take this job's settings and dataset version.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for this job, such as method.learning_rate=1e-4."),
]
Key = Annotated[str, typer.Option(help="The same key gives the same job.")]


def train(
    pipeline: Pipeline,
    dataset_version: DatasetVersion = 0,
    clone: Clone = "",
    changes: Changes = None,
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
        )
    if as_json:
        return print_json(job)
    return console().print(f"job {job.id} is {job.state}; follow it with: flywheel watch {job.id}")


def jobs(pipeline: OfPipeline = "", limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    with connect(home) as client:
        found = client.jobs(pipeline, limit)
    if as_json:
        return print_json(found)
    columns = ("job", "pipeline", "data#", "state", "trigger", "step", "loss#", "left#", "made", "created", "reason")
    return console().print(table(columns, [_row(job) for job in found]))


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


def resume(job: JobId, home: Home = None) -> None:
    """Queue a paused job again; it goes on at its checkpoint."""
    with connect(home) as client:
        _say(client.resume(job))


def settings(pairs: list[str]) -> dict[str, object]:
    """`key=value` pairs with their values read as YAML, as in a pipeline file."""
    from shared.pipelines.changing import parse_value

    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{pair!r} should read KEY=VALUE", param_hint="--set")
        if key in found:
            raise typer.BadParameter(f"{key} is given twice", param_hint="--set")
        found[key] = parse_value(value)
    return found


def _say(job: "Job") -> None:
    console().print(f"job {job.id} is {job.state}")


def _row(job: "Job") -> tuple[object, ...]:
    step = f"{job.step}/{job.total_steps}" if job.total_steps else "–"
    left = seconds(job.eta) if job.state == "running" and job.eta is not None else "–"
    made = f"v{job.model_version}" if job.model_version else "–"
    shown = (job.id, job.pipeline, job.dataset_version, job.state, job.trigger)
    return (*shown, step, job.loss, left, made, job.created_at, job.reason)
