"""`flywheel apply` and `flywheel explain`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import AsJson, Home, connect
from shared.cli.output import console, print_json, table

PipelineFile = Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.")]
KindName = Annotated[str | None, typer.Argument(metavar="[KIND]", help="Of this task kind only.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check it and change nothing.")]

explain = typer.Typer(name="explain", help="Explain what a file may say.", no_args_is_help=True)


def apply(file: PipelineFile, dry_run: DryRun = False, home: Home = None, as_json: AsJson = False) -> None:
    """Declare or change a pipeline."""
    text = read_text(file)
    with connect(home) as client:
        pipeline = client.apply_pipeline(text, dry_run=dry_run)
    if as_json:
        print_json(pipeline)
    elif dry_run:
        console().print(f"{file} is right: pipeline {pipeline.name}; nothing was changed")
    else:
        what = "unchanged" if pipeline.unchanged else "declared" if pipeline.revision == 1 else "changed"
        console().print(f"pipeline {pipeline.name} {what} (revision {pipeline.revision})")


@explain.callback()
def _explain() -> None:
    """Explain what a file may say."""


@explain.command()
def pipeline(as_json: AsJson = False) -> None:
    """Every key of a pipeline file with its meaning and default."""
    from shared.pipelines.explaining import explain_pipeline

    keys = explain_pipeline()
    if as_json:
        print_json(keys)
    else:
        console().print(table(("key", "meaning", "default"), [(key.path, key.meaning, key.default) for key in keys]))


@explain.command()
def methods(kind: KindName = None, as_json: AsJson = False) -> None:
    """Which methods a task kind takes, and the defaults of each."""
    from shared.pipelines.explaining import explain_methods

    lines = explain_methods(kind)
    if as_json:
        print_json(lines)
        return
    cells = [
        (line.kind, line.method, f"refused: {line.refused}" if line.refused else _listed(line.defaults))
        for line in lines
    ]
    console().print(table(("kind", "method", "defaults"), cells))


def _listed(defaults: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in defaults.items())


def read_text(file: Path) -> str:
    """A text file; raises InvalidArgument naming it when it can't be read as UTF-8."""
    from shared.errors import InvalidArgument

    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
