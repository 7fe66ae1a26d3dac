"""The rows of a batch before anyone else sees them: de-duplicated, in a Parquet file aside."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from services.ingestion.scratch import DigestSet, scratch_file
from services.ingestion.statistics import Statistics, count_row
from shared.rows import Schema
from shared.rows.splits import SPLITS
from shared.storage.repositories.digests import digest_of

READ_ROWS = 4096
TEXTS = pa.list_(pa.string())
TYPES = {
    "messages": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
    "answers": pa.list_(pa.struct([("text", pa.string()), ("start", pa.int64())])),
    "labels": TEXTS,
    "tokens": TEXTS,
    "tags": TEXTS,
    "candidates": TEXTS,
    "positives": TEXTS,
    "negatives": TEXTS,
    "answer": pa.int64(),
    "head_start": pa.int64(),
    "head_end": pa.int64(),
    "tail_start": pa.int64(),
    "tail_end": pa.int64(),
}
"""Arrow types of columns; the others are text."""

Known = Callable[[Sequence[bytes]], set[bytes]]
"""Which of some digests the pipeline has already."""


class DraftRow(NamedTuple):
    """A checked row with its side."""

    row_id: str
    split: str
    fields: dict[str, Any]


class Draft:
    """Takes rows in, drops those that it or the pipeline has, counts the rest; memory stays at one chunk."""

    def __init__(self, schema: Schema, folder: Path, known: Known) -> None:
        self._schema, self._folder, self._known = schema, folder, known
        self.file: IO[bytes] = scratch_file(folder)
        self._digests = DigestSet(folder)
        self._writer = pq.ParquetWriter(self.file, part_schema(schema), compression="zstd")
        self.duplicates = 0
        self.splits = dict.fromkeys(SPLITS, 0)
        self.statistics: Statistics = {}

    @property
    def rows(self) -> int:
        return sum(self.splits.values())

    def add(self, rows: Sequence[DraftRow]) -> None:
        """Takes at most some thousand rows; of equal ones the first stays."""
        if not rows:
            return
        by_digest: dict[bytes, DraftRow] = {}
        for row in rows:
            by_digest.setdefault(digest_of(row.row_id), row)
        digests = list(by_digest)
        for digest in self._digests.present(digests) | self._known(digests):
            del by_digest[digest]
        self.duplicates += len(rows) - len(by_digest)
        if by_digest:
            self._keep(by_digest)

    def finish(self) -> None:
        """Ends the file; no row can be added any more."""
        self._writer.close()
        self.file.flush()

    def read(self) -> Iterator[list[DraftRow]]:
        """The rows of a finished draft, a few thousand at a time."""
        self.file.seek(0)
        return read_drafted(self.file, self._schema)

    def digests(self) -> Iterator[list[bytes]]:
        """The index entries of the rows, sorted, a few thousand at a time."""
        return self._digests.chunks()

    def again(self) -> "Draft":
        """A finished draft without the rows that the pipeline has by now; ends this one."""
        draft = Draft(self._schema, self._folder, self._known)
        draft.duplicates = self.duplicates
        for chunk in self.read():
            draft.add(chunk)
        draft.finish()
        self.close()
        return draft

    def close(self) -> None:
        self._writer.close()
        self.file.close()
        self._digests.close()

    def _keep(self, by_digest: dict[bytes, DraftRow]) -> None:
        rows = list(by_digest.values())
        self._digests.add(list(by_digest))
        columns = [[row.row_id for row in rows], [row.split for row in rows]]
        columns += [[row.fields[name] for row in rows] for name in self._schema.columns]
        shape = part_schema(self._schema)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, shape, strict=True)]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=shape))
        labels, lengths = self._schema.labels, self._schema.lengths
        for row in rows:
            self.splits[row.split] += 1
            count_row(self.statistics, row.split, labels(row.fields), lengths(row.fields))


def part_schema(schema: Schema) -> pa.Schema:
    """Columns of a part: row_id, split, and the kind's."""
    own = [(name, TYPES.get(name, pa.string())) for name in schema.columns]
    return pa.schema([("row_id", pa.string()), ("split", pa.string()), *own])


def read_drafted(source: IO[bytes] | Path, schema: Schema) -> Iterator[list[DraftRow]]:
    """The rows of a part, a few thousand at a time."""
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(READ_ROWS):
            yield [
                DraftRow(row["row_id"], row["split"], {name: row.get(name) for name in schema.columns})
                for row in batch.to_pylist()
            ]
