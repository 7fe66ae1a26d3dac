"""Writing a dataset version to files that other programs read: JSON Lines, CSV, Parquet, packed by their name.

A file is written aside and renamed, so that what stands under its name is whole. A spreadsheet would run a CSV cell that
begins like a formula: such text gets an apostrophe in front. Numbers stay numbers.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.client.datasets import LocalVersion
from shared.client.progress import Progress
from shared.errors import InvalidArgument
from shared.storage.datasets import BOOKKEEPING, Part
from shared.storage.ids import new_id

FORMATS = ("jsonl", "csv", "parquet")
PACKINGS = ("gz", "zst")
SPLITS = ("train", "validation", "test")
READ_ROWS = 4096
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a cell that a spreadsheet evaluates begins with (OWASP, CSV injection), also as full-width characters."""


class Writer(Protocol):
    def write(self, rows: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def export_version(local: LocalVersion, target: Path, name: str, progress: Progress) -> list[Path]:
    """Writes a version to a file, with the side in a column, or to a folder with a file for each side.

    `name` is jsonl, csv or parquet, perhaps with .gz or .zst behind it; empty where the file's name says it. Returns
    the files. Raises InvalidArgument for a format that there is none of.
    """
    if _is_folder(target):
        form, packing = _format(name or "jsonl", "--format")
        ending = f".{form}.{packing}" if packing else f".{form}"
        targets = {split: target / f"{split}{ending}" for split in SPLITS}
    else:
        form, packing = _format_of_file(target, name)
        targets = {"": target}
    shape = _shape(local)
    with ExitStack() as stack:
        writers = {split: stack.enter_context(_writing(path, form, packing, shape)) for split, path in targets.items()}
        total, done = sum(part.rows for part in local.manifest.parts), 0
        progress(0, total)
        for rows in read_batches(local, shape):
            for split, writer in writers.items():
                writer.write(rows.filter(pc.equal(rows["split"], split)) if split else rows)
            done += rows.num_rows
            progress(done, total)
    return list(targets.values())


def read_batches(local: LocalVersion, shape: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows that count, in stored order; columns that a part of old lacks are empty."""
    for part in local.manifest.parts:
        with pq.ParquetFile(local.files[part.digest]) as file:
            for chunk in file.iter_batches(READ_ROWS):
                yield _shaped(chunk if part.test else chunk.filter(pc.not_equal(chunk["split"], "test")), part, shape)


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def _is_folder(target: Path) -> bool:
    return target.is_dir() or not target.suffix


def _format_of_file(target: Path, name: str) -> tuple[str, str]:
    said = target.name.lower().removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]
    if said not in FORMATS:
        if not name:
            raise InvalidArgument(f"--to {target.name}: name the format: --format {', '.join(FORMATS)}", field="format")
        return _format(name, "--format")
    packing = target.suffix.lower().removeprefix(".")
    found = _format(f"{said}.{packing}" if packing in PACKINGS else said, f"--to {target.name}")
    if name and _format(name, "--format")[0] != found[0]:
        raise InvalidArgument(f"--to {target.name} says {found[0]}, --format says {name}", field="format")
    return found


def _format(name: str, where: str) -> tuple[str, str]:
    form, _, packing = name.partition(".")
    if form not in FORMATS or (packing and packing not in PACKINGS):
        known = f"{', '.join(FORMATS)}, with .gz or .zst behind"
        raise InvalidArgument(f"{where}: {name!r} is no format to write; there are {known}", field="format")
    if form == "parquet" and packing:
        raise InvalidArgument(f"{where}: Parquet is packed inside; leave .{packing} out", field="format")
    return form, packing


def _shape(local: LocalVersion) -> pa.Schema:
    fields = {"row_id": pa.string(), "split": pa.string(), "batch": pa.string()}
    for path in local.files.values():
        for field in pq.read_schema(path):
            if field.name not in BOOKKEEPING:
                fields.setdefault(field.name, field.type)
    return pa.schema(list(fields.items()))


def _shaped(chunk: pa.RecordBatch, part: Part, shape: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in shape:
        if field.name == "batch":
            columns.append(pa.array([part.batch] * chunk.num_rows, pa.string()))
        elif field.name in chunk.schema.names:
            columns.append(chunk[field.name])
        else:
            columns.append(pa.nulls(chunk.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=shape)


@contextmanager
def _writing(path: Path, form: str, packing: str, shape: pa.Schema) -> Iterator[Writer]:
    """Visible under its name when the block ends, and not at all when it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{new_id('part')}")
    try:
        with _packed(aside, packing) as out:
            writer = WRITERS[form](out, shape)
            yield writer
            writer.close()
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _packed(path: Path, packing: str) -> Iterator[IO[bytes]]:
    if packing == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            yield out
        return
    with path.open("wb") as file:
        if packing == "gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                yield packed  # type: ignore[misc]
        else:
            yield file


class JsonLines:
    """An object a line, without what a row does not have."""

    def __init__(self, out: IO[bytes], shape: pa.Schema) -> None:
        self._out = out

    def write(self, rows: pa.RecordBatch) -> None:
        lines = (
            json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
            for row in rows.to_pylist()
        )
        self._out.write("".join(f"{line}\n" for line in lines).encode())

    def close(self) -> None: ...


class Csv:
    """With a header; lists and messages as JSON."""

    def __init__(self, out: IO[bytes], shape: pa.Schema) -> None:
        self._out, self._columns = out, shape.names
        self._text([self._columns])

    def write(self, rows: pa.RecordBatch) -> None:
        self._text([[_cell(row[name]) for name in self._columns] for row in rows.to_pylist()])

    def close(self) -> None: ...

    def _text(self, rows: list[list[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._out.write(text.getvalue().encode())


class ParquetFile:
    """Row groups of a size that other programs like, however small the parts are."""

    def __init__(self, out: IO[bytes], shape: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(out, shape, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(rows)
        if sum(one.num_rows for one in self._waiting) >= 16 * READ_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting = []


WRITERS: Mapping[str, Callable[[IO[bytes], pa.Schema], Writer]] = {
    "jsonl": JsonLines,
    "csv": Csv,
    "parquet": ParquetFile,
}


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value
