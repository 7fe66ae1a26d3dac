"""What changed between two dataset versions: rows, labels, lengths and vocabulary, with effect sizes.

Parts that both versions have are never read; the figures of the others were counted when their rows came in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from services.ingestion.figures.effects import cliffs_delta, contributions, cramers_v, jensen_shannon, total_variation
from services.ingestion.figures.measuring import measure, measure_part
from services.ingestion.figures.statistics import distribution
from services.ingestion.queries.catalogue import sealed_manifest
from shared.rows import SCHEMAS, Schema
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import READ_ROWS, Part, read_sides
from shared.storage.tables import Batch

OTHER_WORDS = "(other words)"
SHOWN_LABELS = 100
SHOWN_WORDS = 30


@dataclass(frozen=True)
class Difference:
    """`changes` is plain: labels, lengths, vocabulary, splits and sources, each as it was and is."""

    pipeline: str
    first: int
    second: int
    added: int
    removed: int
    kept: int
    changes: dict[str, Any]


@dataclass
class Figures:
    """Sums over rows."""

    splits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    labels: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)

    def add(self, statistics: Mapping[str, Any], splits: Mapping[str, int], test: bool = True) -> None:
        for split in SPLITS:
            if split not in statistics or (split == "test" and not test):
                continue
            of_split = statistics[split]
            self.splits[split] += splits[split]
            _sum(self.labels, of_split["labels"])
            for measured, found in of_split["lengths"].items():
                self.lengths.setdefault(measured, []).append(found)
            words = of_split.get("words", {})
            _sum(self.words, words)
            _sum(self.words, {OTHER_WORDS: max(0, of_split.get("tokens", 0) - sum(words.values()))})

    def buckets(self, measured: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for part in self.lengths.get(measured, ()):
            _sum(total, part["buckets"])
        return total


class Differ:
    """Compares versions that can be read."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def diff(self, pipeline: str, first: int, second: int) -> Difference:
        """`second` 0 is the newest sealed one. Raises NotFound, or FailedPrecondition when one can't be read."""
        with self._database.read() as session:
            one = sealed_manifest(session, self._artifacts, pipeline, first)
            other = sealed_manifest(session, self._artifacts, pipeline, second)
            batches = _batches(session, {part.batch for part in (*one.parts, *other.parts)})
        schema = SCHEMAS[other.kind]
        shared = {(part.digest, part.test) for part in one.parts} & {(part.digest, part.test) for part in other.parts}
        gone = [part for part in one.parts if (part.digest, part.test) not in shared]
        come = [part for part in other.parts if (part.digest, part.test) not in shared]
        before, after = self._ids(gone), self._ids(come)
        both = sum(part.rows for part in other.parts if (part.digest, part.test) in shared)
        figures = [self._figures(manifest.parts, batches, schema) for manifest in (one, other)]
        added = self._added(come, before, batches, schema)
        return Difference(
            pipeline,
            one.version,
            other.version,
            added=len(after - before),
            removed=len(before - after),
            kept=both + len(before & after),
            changes={
                **_changes(*figures),
                "sources": _pairs(one.sources, other.sources),
                "added_rows": _drift(figures[0], added),
            },
        )

    def _ids(self, parts: Sequence[Part]) -> set[bytes]:
        """First halves of the row ids: 16 bytes a row."""
        return {bytes.fromhex(row_id[:32]) for part in parts for row_id, _ in read_sides(self._path(part), part.test)}

    def _figures(self, parts: Sequence[Part], batches: Mapping[str, Batch], schema: Schema) -> Figures:
        figures = Figures()
        for part in parts:
            batch = batches.get(part.batch)
            if batch is not None and batch.part_digest == part.digest and _has_words(batch.statistics):
                splits = {"train": part.train, "validation": part.validation, "test": part.test_rows}
                figures.add(batch.statistics, splits, part.test)
            else:
                measured = measure_part(self._path(part), schema)
                figures.add(measured.statistics, measured.splits, part.test)
        return figures

    def _added(
        self, parts: Sequence[Part], before: set[bytes], batches: Mapping[str, Batch], schema: Schema
    ) -> Figures:
        """Of the rows that only the newer version has."""
        if not before:
            return self._figures(parts, batches, schema)
        figures = Figures()
        for part in parts:
            with pq.ParquetFile(self._path(part)) as file:
                chunks = (_without(chunk, before) for chunk in file.iter_batches(READ_ROWS))
                measured = measure(chunks, schema)
            figures.add(measured.statistics, measured.splits, part.test)
        return figures

    def _path(self, part: Part) -> Any:
        return self._artifacts.fetch_file(part.uri, part.digest)


def _changes(first: Figures, second: Figures) -> dict[str, Any]:
    names = sorted(
        first.labels.keys() | second.labels.keys(),
        key=lambda name: -first.labels.get(name, 0) - second.labels.get(name, 0),
    )
    return {
        "splits": _pairs(first.splits, second.splits),
        "labels": {
            "rows": {name: [first.labels.get(name, 0), second.labels.get(name, 0)] for name in names[:SHOWN_LABELS]},
            "came": [name for name in names if name not in first.labels][:SHOWN_LABELS],
            "went": [name for name in names if name not in second.labels][:SHOWN_LABELS],
        },
        "lengths": {
            measured: [
                distribution(figures.lengths[measured]) if measured in figures.lengths else {}
                for figures in (first, second)
            ]
            for measured in sorted(first.lengths.keys() | second.lengths.keys())
        },
        "vocabulary": _words(first, second),
        "effects": _drift(first, second),
    }


def _drift(first: Figures, second: Figures) -> dict[str, Any]:
    """Effect sizes by what they are about."""
    effects = {
        f"length: {measured}": [cliffs_delta(first.buckets(measured), second.buckets(measured)).plain()]
        for measured in sorted(first.lengths.keys() & second.lengths.keys())
    }
    if first.labels and second.labels:
        pair = first.labels, second.labels
        effects["labels"] = [cramers_v(*pair).plain(), total_variation(*pair).plain()]
    if first.words and second.words:
        effects["vocabulary"] = [jensen_shannon(first.words, second.words).plain()]
    return effects


def _words(first: Figures, second: Figures) -> dict[str, Any]:
    """Words whose share rose or fell most, by what they add to the divergence: how many of 1,000 words they were, and
    are. Counts of large batches are estimates."""
    if not first.words or not second.words:
        return {"rose": {}, "fell": {}}
    parts = contributions(first.words, second.words)
    totals = sum(first.words.values()) or 1, sum(second.words.values()) or 1
    rose: dict[str, list[float]] = {}
    fell: dict[str, list[float]] = {}
    for word in sorted(parts, key=lambda word: (-parts[word], word)):
        counts = first.words.get(word, 0), second.words.get(word, 0)
        pair = [round(1000 * count / total, 3) for count, total in zip(counts, totals, strict=True)]
        side = rose if pair[1] > pair[0] else fell
        if parts[word] > 0 and word != OTHER_WORDS and len(side) < SHOWN_WORDS:
            side[word] = pair
    return {"rose": rose, "fell": fell}


def _batches(session: Session, ids: set[str]) -> dict[str, Batch]:
    return {id: batch for id in ids if (batch := session.get(Batch, id))}


def _has_words(statistics: Mapping[str, Any]) -> bool:
    """Batches from before words were counted have none."""
    return all("words" in statistics[split] for split in SPLITS if split in statistics)


def _without(chunk: pa.RecordBatch, before: set[bytes]) -> pa.RecordBatch:
    mask = [bytes.fromhex(row_id[:32]) not in before for row_id in chunk["row_id"].to_pylist()]
    return chunk.filter(pa.array(mask, pa.bool_()))


def _pairs(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, list[int]]:
    return {name: [first.get(name, 0), second.get(name, 0)] for name in [*first, *(set(second) - set(first))]}


def _sum(total: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count
