"""The figures of rows that are stored already, as they are counted when rows come in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.ingestion.statistics import Statistics, count_row
from services.ingestion.vocabulary import Vocabulary, texts_of
from shared.rows import Schema
from shared.rows.splits import SPLITS
from shared.storage.datasets import READ_ROWS


@dataclass(frozen=True)
class Measured:
    """Rows by side, and their statistics."""

    splits: Mapping[str, int]
    statistics: Statistics

    @property
    def rows(self) -> int:
        return sum(self.splits.values())


def measure(chunks: Iterable[pa.RecordBatch], schema: Schema) -> Measured:
    """Reads chunks of a part to their end."""
    splits = dict.fromkeys(SPLITS, 0)
    statistics: Statistics = {}
    words: dict[str, Vocabulary] = {}
    for chunk in chunks:
        for row in chunk.to_pylist():
            fields: dict[str, Any] = {name: row.get(name) for name in schema.columns}
            split = row["split"]
            splits[split] += 1
            count_row(statistics, split, schema.labels(fields), schema.lengths(fields))
            words.setdefault(split, Vocabulary()).add(texts_of(schema, fields))
    for split, vocabulary in words.items():
        statistics[split] |= vocabulary.sketch()
    return Measured(splits, statistics)


def measure_part(path: Path, schema: Schema) -> Measured:
    """Of a stored part."""
    with pq.ParquetFile(path) as file:
        return measure(file.iter_batches(READ_ROWS), schema)
