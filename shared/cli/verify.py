"""`flywheel verify`."""

from typing import Annotated

import typer

from shared.cli.options import AsJson, Home, ModelArgument, connect
from shared.cli.output import console, print_json

AnyVersion = Annotated[int, typer.Argument(metavar="[VERSION]", min=0, help="Model version; the champion when absent.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start it and do not wait.")]


def verify(
    model: ModelArgument, version: AnyVersion = 0, detach: Detach = False, home: Home = None, as_json: AsJson = False
) -> None:
    """Train a version again from its lineage and compare the weights byte by byte; exit code 0 when they are identical."""
    from shared.cli.watching import follow

    with connect(home) as client:
        job = client.verify(model, version)
        if detach:
            if as_json:
                return print_json(job)
            return console().print(f"job {job.id} is {job.state}; follow it with: flywheel watch {job.id}")
        if not as_json:
            console().print(f"job {job.id} trains {model} v{job.verifies} again from its lineage")
        last = follow(client, job.id, as_json)
    if last.outcome.get("verdict") != "identical":
        raise typer.Exit(1)
    return None
