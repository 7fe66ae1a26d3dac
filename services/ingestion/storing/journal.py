"""What happened to the rows of a batch that were not simply accepted, as a small Parquet file beside its part.

It says what was done and by which rule, never what a text was before.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.ingestion.scratch import scratch_file

FLUSH_ENTRIES = 4096
COLUMNS = pa.schema(
    [
        ("line", pa.int64()),
        ("row_id", pa.string()),
        ("outcome", pa.string()),
        ("rule", pa.string()),
        ("other", pa.string()),
        ("detail", pa.string()),
    ]
)


class Entry(NamedTuple):
    """One thing that happened to a row. `row_id` is empty for a row that could not be read; `other` is the id of the
    row that it is a copy of, or near to; `detail` is for people."""

    line: int
    row_id: str
    outcome: str
    """changed, masked, hashed, flagged, quarantined, duplicate or near."""
    rule: str
    other: str
    detail: str


class Journal:
    """Entries in the order they come, in the memory of a few thousand."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: list[Entry] = []
        self._file: IO[bytes] | None = None
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def note(self, line: int, row_id: str, outcome: str, rule: str = "", other: str = "", detail: str = "") -> None:
        self._entries.append(Entry(line, row_id, outcome, rule, other, detail))
        if len(self._entries) >= FLUSH_ENTRIES:
            self._flush()

    def finish(self, fates: Iterable[Entry] = ()) -> IO[bytes] | None:
        """All entries so far, and what else there is to tell now, as a Parquet file, from its beginning; None when
        there are none. More may follow, and then it is asked again. The caller closes the file."""
        self._flush()
        told = iter(fates)
        first = next(told, None)
        if self._file is None and first is None:
            return None
        made = scratch_file(self._folder)
        _write(made, chain(self._own(), _columns(chain([first] if first else [], told))))
        return made

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _own(self) -> Iterator[pa.RecordBatch]:
        if self._file is not None:
            self._file.seek(0)
            with pa.ipc.open_stream(pa.PythonFile(self._file, "r")) as chunks:
                yield from chunks
            self._file.seek(0, 2)

    def _flush(self) -> None:
        if not self._entries:
            return
        if self._writer is None:
            self._file = scratch_file(self._folder)
            self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), COLUMNS)
        self._writer.write_batch(_column_batch(self._entries))
        self._entries = []


def read_journal(source: Path) -> Iterator[Entry]:
    """Every entry of a stored journal, in order."""
    return _entries(source, lambda batch: None)


def entries_of(source: Path, prefix: str) -> Iterator[Entry]:
    """Entries about rows whose id begins so, or that name such a row as the one they are like."""

    def about(batch: pa.RecordBatch) -> pa.Array:
        return pc.or_(pc.starts_with(batch["row_id"], prefix), pc.starts_with(batch["other"], prefix))

    return _entries(source, about)


def entries_at(source: Path, lines: Collection[int]) -> Iterator[Entry]:
    """Entries about the rows that came at these lines."""
    wanted = pa.array(sorted(lines), pa.int64())
    return _entries(source, lambda batch: pc.is_in(batch["line"], wanted))


def without(source: Path, row_ids: Collection[str], folder: Path) -> IO[bytes] | None:
    """A stored journal less all that it says about these rows, as a new file; None when nothing is left."""
    gone = pa.array(sorted(row_ids), pa.string())
    made, kept = scratch_file(folder), 0

    def rest() -> Iterator[pa.RecordBatch]:
        nonlocal kept
        for batch in _batches(source):
            about = pc.or_(pc.is_in(batch["row_id"], gone), pc.is_in(batch["other"], gone))
            left = batch.filter(pc.invert(about))
            kept += left.num_rows
            yield left

    _write(made, rest())
    if kept:
        return made
    made.close()
    return None


def _columns(entries: Iterable[Entry]) -> Iterator[pa.RecordBatch]:
    rest = iter(entries)
    while chunk := list(islice(rest, FLUSH_ENTRIES)):
        yield _column_batch(chunk)


def _column_batch(entries: Sequence[Entry]) -> pa.RecordBatch:
    by_column = zip(*entries, strict=True)
    columns = [pa.array(values, field.type) for values, field in zip(by_column, COLUMNS, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=COLUMNS)


def _entries(source: Path, wanted: Callable[[pa.RecordBatch], pa.Array | None]) -> Iterator[Entry]:
    for batch in _batches(source):
        mask = wanted(batch)
        chosen = batch if mask is None else batch.filter(mask)
        yield from (Entry(**row) for row in chosen.to_pylist())


def _batches(source: Path) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(source) as file:
        yield from file.iter_batches(FLUSH_ENTRIES)


def _write(made: IO[bytes], chunks: Iterator[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(made, COLUMNS, compression="zstd") as writer:
        for chunk in chunks:
            writer.write_batch(chunk)
    made.flush()
    made.seek(0)
