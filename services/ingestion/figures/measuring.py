"""The figures of rows as they are stored: counted by column where a kind's texts and labels stand in columns of their
own, row by row elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.ingestion.figures.statistics import Statistics, count_labels, count_lengths, count_row
from services.ingestion.figures.vocabulary import Vocabulary, texts_of
from shared.rows import Schema
from shared.rows.splits import SPLITS
from shared.storage.datasets import READ_ROWS

LENGTHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "classification": {"characters": ("text", "text_pair")},
    "relation_extraction": {"characters": ("text",)},
    "instruction": {"instruction_characters": ("instruction", "input"), "output_characters": ("output",)},
    "translation": {"source_characters": ("source",), "target_characters": ("target",)},
    "summarisation": {"document_characters": ("document",), "summary_characters": ("summary",)},
    "generation": {"characters": ("text",), "prompt_characters": ("prompt",)},
}
"""Kind -> measure -> the columns whose characters it sums up; as the kind's schema says of a row."""


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
        for split in SPLITS:
            rows = chunk.filter(pc.equal(chunk["split"], split))
            if not rows.num_rows:
                continue
            splits[split] += rows.num_rows
            _count(statistics, split, rows, schema)
            vocabulary = words.setdefault(split, Vocabulary())
            sampled = rows.take(vocabulary.places(rows.num_rows)).select(_texts(schema, rows))
            for row in sampled.to_pylist():
                vocabulary.add(texts_of(schema, row))
    for split, vocabulary in words.items():
        statistics[split] |= vocabulary.sketch()
    return Measured(splits, statistics)


def measure_part(path: Path, schema: Schema) -> Measured:
    """Of a stored part."""
    with pq.ParquetFile(path) as file:
        return measure(file.iter_batches(READ_ROWS), schema)


def _count(statistics: Statistics, split: str, rows: pa.RecordBatch, schema: Schema) -> None:
    columns = LENGTHS.get(schema.kind)
    if columns is None:
        for row in rows.select([name for name in schema.columns if name in rows.schema.names]).to_pylist():
            fields: dict[str, Any] = {name: row.get(name) for name in schema.columns}
            count_row(statistics, split, schema.labels(fields), schema.lengths(fields))
        return
    for measured, names in columns.items():
        lengths = [pc.fill_null(pc.utf8_length(rows[name]), 0) for name in names if _has(rows, name)]
        total = lengths[0]
        for more in lengths[1:]:
            total = pc.add(total, more)
        count_lengths(statistics, split, measured, _counted(total))
    count_labels(statistics, split, _labels(rows))


def _labels(rows: pa.RecordBatch) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in ("label", "labels"):
        if _has(rows, name):
            column = rows[name]
            flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column.drop_null()
            counts |= {label: counts.get(label, 0) + count for label, count in _counted(flat).items()}
    return counts


def _has(rows: pa.RecordBatch, name: str) -> bool:
    """Parts of old lack columns; one of nothing but nulls may have no type."""
    return name in rows.schema.names and not pa.types.is_null(rows.schema.field(name).type)


def _counted(values: pa.Array) -> dict[Any, int]:
    """How often each value occurs, in the order they came."""
    found = pc.value_counts(values)
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _texts(schema: Schema, rows: pa.RecordBatch) -> list[str]:
    return [name for name in schema.columns if name in schema.texts and name in rows.schema.names]
