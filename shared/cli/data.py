"""`flywheel data …`: dataset versions, batches, rows and what was not accepted."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, Limit, Pipeline, SealedVersion, connect
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.client.data import Batch, DatasetVersion
    from shared.client.lives import RowLife

AnyPipeline = Annotated[str, typer.Argument(metavar="[PIPELINE]", help="Name of the pipeline; all when absent.")]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="Id of the batch.")]
BatchOption = Annotated[str, typer.Option("--batch", help="Of this batch only.")]
Split = Annotated[str, typer.Option("--split", help="train, validation or test; all when absent.")]
RowId = Annotated[str, typer.Argument(metavar="ROW", help="Id of the row, or its first 8 or more characters.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the batch.")]

data = typer.Typer(name="data", help="Dataset versions, batches, rows and quarantine.", no_args_is_help=True)


@data.command()
def versions(pipeline: Pipeline, limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """List dataset versions, newest first."""
    with connect(home) as client:
        found = client.dataset_versions(pipeline, limit)
    if as_json:
        return print_json(found)
    columns = (
        "version#",
        "state",
        "train#",
        "validation#",
        "test#",
        "new rows#",
        "batches#",
        "digest",
        "sealed at",
        "reason",
    )
    rows = [
        (
            one.version,
            one.state,
            *_splits(one),
            one.new_rows,
            len(one.batches),
            one.digest[:12],
            one.sealed_at,
            one.reason,
        )
        for one in found
    ]
    return console().print(table(columns, rows))


@data.command()
def batches(pipeline: AnyPipeline = "", limit: Limit = 20, home: Home = None, as_json: AsJson = False) -> None:
    """List batches, newest first."""
    with connect(home) as client:
        found = client.batches(pipeline, limit)
    if as_json:
        return print_json(found)
    counts = ("accepted#", "duplicates#", "quarantined#")
    columns = ("batch", "pipeline", "source", "state", *counts, "rules", "reason", "arrived")
    rows = [
        (one.id, one.pipeline, one.source, one.state, *_counts(one), _rules(one), one.reason, one.created_at)
        for one in found
    ]
    return console().print(table(columns, rows))


@data.command()
def rows(
    pipeline: Pipeline,
    version: SealedVersion = 0,
    split: Split = "",
    batch: BatchOption = "",
    limit: Limit = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Read rows of a dataset version."""
    with connect(home) as client:
        found = list(client.rows(pipeline, version, split=split, batches=[batch] if batch else [], limit=limit))
    if as_json:
        return print_json(found)
    cells = [(row.id[:12], row.split, row.batch, _shown(row.fields)) for row in found]
    return console().print(table(("row", "split", "batch", "fields"), cells))


@data.command()
def quarantine(
    pipeline: Pipeline, batch: BatchOption = "", limit: Limit = 20, home: Home = None, as_json: AsJson = False
) -> None:
    """List rows that were not accepted, and why."""
    with connect(home) as client:
        found = client.quarantine(pipeline, batch, limit)
    if as_json:
        return print_json(found)
    cells = [(row.batch, row.line, row.reason, row.field, row.message) for row in found]
    return console().print(table(("batch", "line#", "reason", "field", "what is wrong"), cells))


@data.command()
def explain(pipeline: Pipeline, row: RowId, home: Home = None, as_json: AsJson = False) -> None:
    """Tell the life of a row: where it came in, what rules did, its side, versions and models."""
    with connect(home) as client:
        found = client.explain_row(pipeline, row)
    if as_json:
        return print_json(found)
    return _show_life(found)


@data.command()
def hold(batch: BatchId, reason: Reason = "", home: Home = None) -> None:
    """Keep a batch out of later dataset versions."""
    with connect(home) as client:
        found = client.hold_batch(batch, reason)
    console().print(f"batch {found.id} is {found.state}")


@data.command()
def release(batch: BatchId, reason: Reason = "", home: Home = None) -> None:
    """Let a held batch into the next dataset version."""
    with connect(home) as client:
        found = client.release_batch(batch, reason)
    console().print(f"batch {found.id} is {found.state}")


def _splits(version: "DatasetVersion") -> tuple[int, int, int]:
    return version.splits.train, version.splits.validation, version.splits.test


def _counts(batch: "Batch") -> tuple[int, int, int]:
    return batch.accepted, batch.duplicates, batch.quarantined


def _rules(batch: "Batch") -> str:
    return ", ".join(f"{one.rule}: {one.rows:,} {one.action}" for one in batch.rules)


def _show_life(life: "RowLife") -> None:
    from rich.markup import escape

    row = life.row
    where = f" in {row.split}, batch {row.batch}" if row.batch else ": the dataset does not hold it"
    console().print(f"row {row.id}{where}")
    if row.fields:
        console().print(f"  {_shown(row.fields)}")
    events = [(one.at, one.event, one.subject, escape(one.detail)) for one in life.events]
    console().print(table(("when", "what", "of", "detail"), events))
    if life.near:
        console().print(f"near copies: {', '.join(id[:12] for id in life.near)}")


def _shown(fields: dict[str, object]) -> str:
    from rich.markup import escape

    return escape(" · ".join(f"{key}: {value}" for key, value in fields.items()))
