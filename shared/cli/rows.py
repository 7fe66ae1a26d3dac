"""`flywheel ingest FILE`: a JSON Lines file as one batch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, PipelineOption, connect
from shared.cli.output import console, print_json

if TYPE_CHECKING:
    from shared.client.data import Batch

RowsFile = Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines: one row a line, UTF-8.")]
BatchKey = Annotated[str, typer.Option(help="The same key is the same batch; the file's SHA-256 when absent.")]
Source = Annotated[str, typer.Option(help="Where the rows came from; the file's name when absent.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the rows here and send nothing.")]


def ingest(
    file: RowsFile,
    pipeline: PipelineOption,
    batch_key: BatchKey = "",
    source: Source = "",
    dry_run: DryRun = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Send a file of rows to a pipeline."""
    from shared.errors import InvalidArgument

    if not file.is_file():
        raise InvalidArgument(f"{file}: no such file")
    with connect(home) as client:
        if dry_run:
            from shared.cli.checking import check_file, show_check

            found = check_file(file, client.pipeline(pipeline))
            print_json(found) if as_json else show_check(file, found)
            raise typer.Exit(0 if found.accepted and not found.refused else 1)
        with UploadBar(file.stat().st_size, as_json) as advance:
            batch = client.import_file(pipeline, file, batch_key=batch_key, source=source, progress=advance)
    if as_json:
        print_json(batch)
    else:
        show_batch(batch)
    if batch.state == "rejected":
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
    for reason in batch.quarantine_reasons:
        console().print(f"    {reason.reason}: {reason.rows:,}")
    if batch.quarantined:
        console().print(f"  see them with: flywheel data quarantine {batch.pipeline} --batch {batch.id}")
    if batch.reason:
        console().print(f"  {batch.reason}")
