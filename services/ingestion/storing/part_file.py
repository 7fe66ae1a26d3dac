"""The Parquet file of a batch's rows: its columns, and writing it chunk by chunk."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.ingestion.figures.measuring import Measured, measure
from services.ingestion.near.hashing import Array, Words
from shared.errors import DataCorrupted, NotFound
from shared.rows import Schema
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts

READ_ROWS = 4096
NAME_CHARACTERS = 16
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
FEW_VALUES = ["split", "label", "flags.list.element", "tags.list.element"]
"""Columns worth a dictionary; texts and ids differ from row to row."""


class StoredRow(NamedTuple):
    """A row of a part."""

    row_id: str
    split: str
    fields: dict[str, Any]
    line: int
    cluster: str
    flags: tuple[str, ...]


def part_schema(schema: Schema) -> pa.Schema:
    """Columns of a part: row_id, split, the kind's, and how the row came in: `line` (position in the batch, from 1),
    `cluster` (16 hex digits), `flags`. Parts of old have none of the last three."""
    own = [(name, TYPES.get(name, pa.string())) for name in schema.columns]
    came = [("line", pa.int64()), ("cluster", pa.string()), ("flags", TEXTS)]
    return pa.schema([("row_id", pa.string()), ("split", pa.string()), *own, *came])


def write_part(target: IO[bytes], chunks: Iterable[pa.RecordBatch], shape: pa.Schema, schema: Schema) -> Measured:
    """Writes a part and counts what is in it."""
    dictionaries = [name for name in FEW_VALUES if name.split(".")[0] in shape.names]
    with pq.ParquetWriter(
        target, shape, compression="zstd", compression_level=1, use_dictionary=dictionaries
    ) as writer:

        def written() -> Iterator[pa.RecordBatch]:
            for chunk in chunks:
                if chunk.num_rows:
                    writer.write_batch(chunk)
                    yield chunk

        found = measure(written(), schema)
    target.flush()
    return found


def read_stored(source: IO[bytes] | Path, schema: Schema) -> Iterator[list[StoredRow]]:
    """The rows of a part, a few thousand at a time."""
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(READ_ROWS):
            yield [_stored(row, schema.columns) for row in batch.to_pylist()]


@contextmanager
def opened_part(artifacts: Artifacts, uri: str) -> Iterator[pq.ParquetFile]:
    """A stored part, read where it lies. Raises NotFound, or DataCorrupted for one that is no Parquet file any more."""
    try:
        with artifacts.open(uri) as source, pq.ParquetFile(source) as file:
            yield file
    except FileNotFoundError as error:
        raise NotFound(f"there is no {uri}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataCorrupted(f"the part {uri} can't be read: {error}; put it back from a backup of the store") from error


def side_column(sides: Array) -> pa.Array:
    """Places in SPLITS as words."""
    return pa.array(SPLITS).take(pa.array(sides))


def name_column(clusters: Words) -> pa.Array:
    """Numbers as 16 hex digits each."""
    digits = clusters.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, NAME_CHARACTERS * (len(clusters) + 1), NAME_CHARACTERS, dtype=np.int32)
    return pa.StringArray.from_buffers(len(clusters), pa.py_buffer(offsets), pa.py_buffer(digits))


def _stored(row: dict[str, Any], columns: Sequence[str]) -> StoredRow:
    fields = {name: row.get(name) for name in columns}
    flags = tuple(row.get("flags") or ())
    return StoredRow(row["row_id"], row["split"], fields, row.get("line") or 0, row.get("cluster") or "", flags)
