"""`flywheel ingest FILE`: a file of rows as one batch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, PipelineOption, connect
from shared.cli.output import console, print_json

if TYPE_CHECKING:
    from shared.client.data import Batch

RowsFile = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="JSON Lines, JSON, CSV, TSV, Parquet, text or CoNLL; also in gzip, zstd, zip."),
]
BatchKey = Annotated[str, typer.Option(help="The same key is the same batch; the file's SHA-256 when absent.")]
Source = Annotated[str, typer.Option(help="Where the rows came from; the file's name when absent.")]
Format = Annotated[
    str,
    typer.Option(
        help="jsonl, json, csv, tsv, parquet, text, paragraphs, conll, sharegpt or alpaca; found out when absent."
    ),
]
Encoding = Annotated[str, typer.Option(help="Such as utf-8, gb18030, big5, latin-1; found out when absent.")]
Licence = Annotated[str, typer.Option(help="Licence of the rows; it goes into the dataset versions.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the first rows as they would be stored, and what would be refused.")
]


def ingest(
    file: RowsFile,
    pipeline: PipelineOption,
    batch_key: BatchKey = "",
    source: Source = "",
    format: Format = "",
    encoding: Encoding = "",
    licence: Licence = "",
    dry_run: DryRun = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send a file of rows to a pipeline. What was cut goes on where it was when it is sent again."""
    from shared.errors import InvalidArgument

    if not file.is_file():
        raise InvalidArgument(f"{file}: no such file")
    told = {"source": source, "format": format, "encoding": encoding, "licence": licence}
    with connect(home) as client, UploadBar(file.stat().st_size, as_json) as advance:
        batch = client.import_file(pipeline, file, batch_key=batch_key, dry_run=dry_run, progress=advance, **told)
    if as_json:
        print_json(batch)
    elif dry_run:
        from shared.cli.previewing import show_preview

        show_preview(file, batch)
    else:
        show_batch(batch)
    if batch.state == "rejected" or (dry_run and (batch.quarantined or not batch.accepted)):
        raise typer.Exit(1)


class UploadBar:
    """A progress bar with rate and time left; silent in JSON mode."""

    def __init__(self, total: int, quiet: bool) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = ("sending", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=console(), transient=True, disable=quiet or not console().is_terminal
        )
        self._total = total

    def __enter__(self) -> "UploadBar":
        self._progress.start()
        self._bar = self._progress.add_task("", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int) -> None:
        self._progress.update(self._bar, completed=done)


def show_batch(batch: "Batch") -> None:
    """What became of a batch, with the reasons for what was not accepted."""
    already = " (sent before; nothing changed)" if batch.repeated_call else ""
    console().print(f"batch {batch.id} of {batch.pipeline}: {batch.state}{already}")
    console().print(
        f"  {batch.received:,} rows: {batch.accepted:,} accepted, {batch.duplicates:,} duplicates, "
        f"{batch.quarantined:,} in quarantine"
    )
    if batch.format:
        console().print(f"  read as {batch.format} in {batch.encoding}")
    if batch.near_duplicates:
        console().print(f"  {batch.near_duplicates:,} have a near copy in the dataset")
    for rule in batch.rules:
        console().print(f"  {rule.rule}: {rule.rows:,} {rule.action}")
    for reason in batch.quarantine_reasons:
        console().print(f"    {reason.reason}: {reason.rows:,}")
    if batch.quarantined:
        console().print(f"  see them with: flywheel data quarantine {batch.pipeline} --batch {batch.id}")
    if batch.reason:
        console().print(f"  {batch.reason}")
