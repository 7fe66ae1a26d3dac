"""`flywheel import URI`, `flywheel imports`, `flywheel data sources`: rows that the service fetches by itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.data import AnyPipeline, data
from shared.cli.options import AsJson, Home, Limit, OfPipeline, PipelineOption, connect
from shared.cli.output import console, print_json, seconds, table

if TYPE_CHECKING:
    from shared.client.imports import Import, Source

Uri = Annotated[str, typer.Argument(metavar="URI", help="s3://bucket/key, s3://bucket/prefix/, https://… or file://…")]
BatchKey = Annotated[
    str, typer.Option(help="The same key is the same batch; made of the URI and its content when absent.")
]
SourceName = Annotated[str, typer.Option(help="Where the rows came from; the URI when absent.")]
Format = Annotated[str, typer.Option(help="Format of the files; found out when absent.")]
Encoding = Annotated[str, typer.Option(help="Character encoding of the files; found out when absent.")]
Licence = Annotated[str, typer.Option(help="Licence of the rows; kept with the batch.")]
Watch = Annotated[bool, typer.Option("--watch/--detach", help="Follow the import to its end, or leave it to itself.")]
Cancel = Annotated[str, typer.Option(metavar="IMPORT", help="End this import; nothing of it is kept.")]
Reason = Annotated[str, typer.Option(help="Why it is ended.")]


def import_uri(
    uri: Uri,
    pipeline: PipelineOption,
    batch_key: BatchKey = "",
    source: SourceName = "",
    format: Format = "",
    encoding: Encoding = "",
    licence: Licence = "",
    watch: Watch = True,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Have the platform fetch rows from a URI. The import goes on when this command is interrupted."""
    said = {"batch_key": batch_key, "source": source, "format": format, "encoding": encoding, "licence": licence}
    with connect(home) as client:
        found = client.import_uri(pipeline, uri, **said)
        if watch:
            with ImportBar(as_json) as show:
                for now in client.watch_import(found.id):
                    found = now
                    show(now)
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found.state in ("failed", "cancelled") or (found.batch and found.batch.state == "rejected"):
        raise typer.Exit(1)


def imports(
    pipeline: OfPipeline = "",
    limit: Limit = 20,
    cancel: Cancel = "",
    reason: Reason = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List imports, newest first, or end one."""
    with connect(home) as client:
        if cancel:
            ended = client.cancel_import(cancel, reason)
            return print_json(ended) if as_json else _show(ended)
        found = client.imports(pipeline, limit)
    if as_json:
        return print_json(found)
    columns = ("import", "pipeline", "from", "state", "rows#", "done", "left", "batch", "what is wrong", "asked for")
    return console().print(table(columns, map(_cells, found)))


@data.command()
def sources(pipeline: AnyPipeline = "", home: Home = None, as_json: AsJson = False) -> None:
    """List the folders, prefixes and streams that pipelines follow."""
    with connect(home) as client:
        found = client.sources(pipeline)
    if as_json:
        return print_json(found)
    columns = (
        "pipeline",
        "source",
        "kind",
        "where",
        "waiting#",
        "rows#",
        "refused#",
        "what is wrong",
        "next try",
        "seen",
    )
    return console().print(table(columns, map(_source_cells, found)))


class ImportBar:
    """Bytes, rows, rate, time left; nothing in JSON mode or where the output is no terminal."""

    def __init__(self, quiet: bool) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            DownloadColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        self._progress = Progress(
            *columns, console=console(), transient=True, disable=quiet or not console().is_terminal
        )

    def __enter__(self) -> "ImportBar":
        self._progress.start()
        self._bar = self._progress.add_task("waiting", total=None, facts="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, now: "Import") -> None:
        word = {"queued": "waiting", "running": "reading" if now.rows else "fetching"}.get(now.state, now.state)
        self._progress.update(
            self._bar,
            description=word,
            completed=now.bytes,
            total=now.total_bytes or None,
            facts=" · ".join(_facts(now)),
        )


def _facts(now: "Import") -> Iterator[str]:
    if now.rows:
        yield f"{now.rows:,} rows"
    if now.rows_per_second:
        yield f"{now.rows_per_second:,.0f} rows/s"
    if now.eta_seconds:
        yield f"{seconds(now.eta_seconds)} left"
    if now.reason:
        yield now.reason


def _show(found: "Import") -> None:
    from shared.cli.rows import show_batch

    console().print(f"import {found.id} of {found.uri}: {found.state}{': ' + found.reason if found.reason else ''}")
    if found.batch:
        show_batch(found.batch)
    elif not found.is_over:
        console().print(f"  see how it goes with: flywheel imports --pipeline {found.pipeline}")


def _cells(found: "Import") -> tuple[object, ...]:
    done = f"{found.bytes / found.total_bytes:.0%}" if found.total_bytes else ""
    left = seconds(found.eta_seconds) if found.eta_seconds else ""
    batch = found.batch.id if found.batch else ""
    facts = (found.state, found.rows, done, left, batch, found.reason, found.created_at)
    return found.id, found.pipeline, found.uri, *facts


def _source_cells(one: "Source") -> tuple[object, ...]:
    facts = (one.pending, one.rows, one.refused, one.error, one.next_try_at, one.seen_at)
    return one.pipeline, one.name, one.kind, one.uri, *facts
