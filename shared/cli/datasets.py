"""`flywheel data card | diff | sql | prove | export | delete`: what a dataset version holds, and how it comes out again."""

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.options import AsJson, Home, Html, Pipeline, SealedVersion, connect, settings_of
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.client import FlywheelClient
    from shared.client.data import DatasetDiff
    from shared.client.datasets import LocalVersion
    from shared.client.operations import ModelVersion
    from shared.report.dataset import Card

SAMPLES = 5
"""Rows of each side on a data card."""
SHOWN_ROWS = 200
"""Rows of an answer that a table shows."""

AVersion = Annotated[str, typer.Argument(metavar="[VERSION]", help="3 or v3; the newest sealed one when absent.")]
First = Annotated[str, typer.Argument(metavar="VERSION", help="The older one: 3 or v3.")]
Second = Annotated[str, typer.Argument(metavar="[VERSION]", help="The newer one; the newest sealed one when absent.")]
Sql = Annotated[str, typer.Argument(metavar="SQL", help="One SELECT over the view rows, in DuckDB's SQL.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV; text that a spreadsheet would run gets an apostrophe.")]
ProvenRow = Annotated[str, typer.Argument(metavar="[ROW]", help="Id of a row, or its first characters.")]
To = Annotated[Path, typer.Option("--to", help="A file, with the side as a column, or a folder: a file for each side.")]
Format = Annotated[
    str, typer.Option("--format", help="jsonl, csv or parquet, the first two also as .gz or .zst; by the file's name.")
]
RowIds = Annotated[
    list[str] | None, typer.Option("--row", help="Id of a row, or its first 8 characters or more; may be repeated.")
]
Sources = Annotated[list[str] | None, typer.Option("--source", help="All rows of a source; may be repeated.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept for ever, without the rows.")]


def card(
    pipeline: Pipeline, version: AVersion = "", html: Html = None, home: Home = None, as_json: AsJson = False
) -> None:
    """Show what a dataset version holds: the data card."""
    with connect(home) as client:
        found = gather(client, pipeline, number_of(version))
    if html:
        from shared.report.dataset import write_data_card

        write_data_card(html, found)
    if as_json:
        return print_json({"version": found.version, "models": [model.version for model in found.models]})
    from shared.report.dataset import facts, language_words, leak_words

    one = found.version
    console().print(
        f"{one.pipeline} dataset version {one.version}: {one.state}{': ' + one.reason if one.reason else ''}\n"
    )
    console().print(table(("", ""), facts(one)))
    console().print(f"\nlanguages: {language_words(one)}")
    console().print(f"leak check: {leak_words(one)}")
    trained = ", ".join(f"v{model.version}" for model in found.models) or "no model version"
    console().print(f"trained on it: {trained}")
    return console().print(f"\npage written to {html}") if html else None


def diff(
    pipeline: Pipeline,
    first: First,
    second: Second = "",
    html: Html = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compare two dataset versions: rows, labels, lengths, words, drift as effect sizes."""
    with connect(home) as client:
        found = client.diff_versions(pipeline, number_of(first), number_of(second))
    if html:
        from shared.report.dataset import write_difference_page

        write_difference_page(html, found)
    if as_json:
        return print_json(found)
    show_difference(found)
    return console().print(f"\npage written to {html}") if html else None


def sql(
    pipeline: Pipeline,
    query: Sql,
    version: SealedVersion = 0,
    as_csv: AsCsv = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Ask a dataset version in SQL, on this machine."""
    with needed():
        from shared.client.querying import query as ask

    local = fetch(pipeline, version, home, quiet=True)
    with ask(local, query) as answer:
        if as_json:
            return print_json([dict(zip(answer.columns, map(plain_cell, row), strict=True)) for row in answer.rows])
        if as_csv:
            return print_csv(answer.columns, answer.rows)
        shown = list(islice(answer.rows, SHOWN_ROWS + 1))
    console().print(table(answer.columns, [tuple(map(plain_cell, row)) for row in shown[:SHOWN_ROWS]]))
    if len(shown) > SHOWN_ROWS:
        console().print(f"… more than {SHOWN_ROWS} rows; --json and --csv print all")
    return None


def prove(
    pipeline: Pipeline, row: ProvenRow = "", version: SealedVersion = 0, home: Home = None, as_json: AsJson = False
) -> None:
    """Check a dataset version against its Merkle root; with a row, prove that it stands in it."""
    with needed():
        from shared.client.proving import prove_version
    from shared.errors import DataCorrupted

    with connect(home) as client:
        said = client.dataset_version(pipeline, version)
    found = prove_version(fetch(pipeline, said.version, home, quiet=as_json), row)
    if said.merkle_root not in ("", found.merkle_root):
        raise DataCorrupted(f"the rows have the Merkle root {found.merkle_root}, the service says {said.merkle_root}")
    if as_json:
        return print_json(found)
    console().print(
        f"{found.rows:,} rows of {pipeline} dataset version {said.version}: Merkle root {found.merkle_root}"
    )
    if found.proof:
        console().print(f"row {found.proof.row_id} ({found.proof.split}) stands in it; lowest sibling first:")
        for left, sibling in found.proof.siblings:
            console().print(f"  {'left ' if left else 'right'} {sibling}")
    return None


def export(pipeline: Pipeline, to: To, version: SealedVersion = 0, format: Format = "", home: Home = None) -> None:
    """Write a dataset version to a file, or to a folder with a file for each side."""
    with needed():
        from shared.client.exporting import export_version

    local = fetch(pipeline, version, home, quiet=False)
    with RowBar("writing") as advance:
        written = export_version(local, to, format, advance)
    rows = sum(part.rows for part in local.manifest.parts)
    names = ", ".join(map(str, written))
    console().print(f"{rows:,} rows of {pipeline} dataset version {local.manifest.version} written to {names}")


def delete(
    pipeline: Pipeline,
    reason: Reason,
    rows: RowIds = None,
    sources: Sources = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Delete rows by id or by source: versions that hold them expire, the next one is without them."""
    with connect(home) as client:
        done = client.delete_rows(pipeline, rows=rows or [], sources=sources or [], reason=reason)
    if as_json:
        return print_json(done)
    console().print(f"{done.rows:,} rows deleted from {len(done.batches):,} batches")
    if done.unknown:
        console().print(f"not in the dataset: {', '.join(done.unknown)}")
    if done.dataset_versions:
        console().print(f"dataset versions that held them, and can't be read any more: {_list(done.dataset_versions)}")
    if done.model_versions:
        console().print(f"model versions that were trained on them: {_list(done.model_versions, 'v')}")
    return None


def gather(client: "FlywheelClient", pipeline: str, version: int) -> "Card":
    """What a data card shows. Models are left out while control is away."""
    from shared.errors import FailedPrecondition, Unavailable
    from shared.report.dataset import Card

    found = client.dataset_version(pipeline, version, languages=True)
    batches = [client.batch(id) for id in found.batches[:SHOWN_ROWS]]
    manifest, rows = None, []
    with suppress(FailedPrecondition):
        manifest = client.dataset_manifest(pipeline, found.version)
        for split in ("train", "validation", "test"):
            rows += list(client.rows(pipeline, found.version, split=split, limit=SAMPLES))
    models: list[ModelVersion] = []
    with suppress(Unavailable):
        models = [one for one in client.model_versions(pipeline, 0) if one.dataset_version == found.version]
    return Card(found, batches, manifest, rows, models)


def fetch(pipeline: str, version: int, home: Path | None, *, quiet: bool) -> "LocalVersion":
    """The version's parts on this machine; those that are there already are not fetched again."""
    cache = settings_of(home).cache_folder
    with connect(home) as client, RowBar("fetching", quiet=quiet) as advance:
        return client.fetch_version(pipeline, version, cache, progress=advance)


def show_difference(found: "DatasetDiff") -> None:
    from shared.report.dataset import effect_rows, pair_rows

    changes = found.changes
    console().print(
        f"{found.pipeline} dataset version {found.first} -> {found.second}: "
        f"{found.added:,} rows came, {found.removed:,} went, {found.kept:,} stayed\n"
    )
    console().print(table(("about", "effect size", "value#", ""), effect_rows(changes.get("effects", {}))))
    if added := effect_rows(changes.get("added_rows", {})):
        console().print(f"\nrows that came, against version {found.first}")
        console().print(table(("about", "effect size", "value#", ""), added))
    for title, pairs in (
        ("label", changes.get("labels", {}).get("rows", {})),
        ("word, more often (of 1,000)", changes.get("vocabulary", {}).get("rose", {})),
        ("word, less often (of 1,000)", changes.get("vocabulary", {}).get("fell", {})),
    ):
        if pairs:
            console().print()
            console().print(
                table((title, "before#", "after#", "difference#"), pair_rows(dict(islice(pairs.items(), 20))))
            )


def number_of(word: str) -> int:
    """3 or v3; 0 for nothing. Raises InvalidArgument."""
    from shared.errors import InvalidArgument

    digits = word.removeprefix("v") or "0"
    if not digits.isdecimal():
        raise InvalidArgument(f"{word!r} is no dataset version; say 3 or v3", field="version")
    return int(digits)


def print_csv(columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    from shared.client.exporting import harmless

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(harmless, columns))
    for row in rows:
        cells = map(plain_cell, row)
        writer.writerow(harmless(cell) if isinstance(cell, str) else cell for cell in cells)


def plain_cell(value: Any) -> Any:
    """What DuckDB answers, as what JSON knows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain_cell(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain_cell(one) for key, one in value.items()}
    return float(value) if type(value).__name__ == "Decimal" else str(value)


@contextmanager
def needed() -> Iterator[None]:
    """Says what to install where a library of the extra `data` is missing."""
    from shared.errors import Unsupported

    try:
        yield
    except ModuleNotFoundError as error:
        raise Unsupported(f"this needs {error.name}: pip install 'flywheel[data]'") from None


class RowBar:
    """A progress bar over rows; silent where nobody looks."""

    def __init__(self, what: str, quiet: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns, console=console(), transient=True, disable=quiet or not console().is_terminal
        )

    def __enter__(self) -> "RowBar":
        self._progress.start()
        self._task = self._progress.add_task("", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


def _list(numbers: tuple[int, ...], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{number}" for number in numbers)
