"""The files of a batch without some of its rows: a new part, a new journal and a new
segment of the index beside the old ones, which stay."""

import hashlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.ingestion.figures.measuring import Measured, measure
from services.ingestion.index.rewriting import rewritten_index
from services.ingestion.scratch import scratch_file
from services.ingestion.storing import journal
from services.ingestion.storing.sweeping import FOLDER, ROOT
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, Schema
from shared.rows.splits import SPLITS
from shared.storage.artifacts import CHUNK_BYTES, Artifacts
from shared.storage.datasets import READ_ROWS
from shared.storage.ids import new_id
from shared.storage.tables import Batch


@dataclass(frozen=True)
class Rewritten:
    """What a batch's row says once rows of it are gone."""

    part: tuple[str, str] = ("", "")
    """URI and SHA-256; empty when no row is left."""
    journal: tuple[str, str] = ("", "")
    index: tuple[str, str] = ("", "")
    """Of a batch without rows, too: it remembers on which sides they stood."""
    splits: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(self.splits.values())

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "part_uri": self.part[0],
            "part_digest": self.part[1],
            "journal_uri": self.journal[0],
            "journal_digest": self.journal[1],
            "index_uri": self.index[0],
            "index_digest": self.index[1],
            "accepted": self.rows,
            **self.splits,
            "statistics": dict(self.statistics),
        }


class Rewriter:
    """Writes what a crash before the commit leaves to the sweeper."""

    def __init__(self, artifacts: Artifacts, folder: Path) -> None:
        self._artifacts, self._folder = artifacts, folder

    def without(self, batch: Batch, spec: PipelineSpec, row_ids: Collection[str] | None) -> Rewritten:
        """The batch without these rows; without any when `row_ids` is None. Raises DataCorrupted."""
        if row_ids is None or not batch.part_uri:
            return Rewritten(index=self._index(batch, spec, None))
        with scratch_file(self._folder) as made:
            measured = self._filtered(batch, SCHEMAS[spec.kind], row_ids, made)
            if not measured.rows:
                return Rewritten(index=self._index(batch, spec, None))
            part = self._store(batch, made, "parquet")
            index = self._index(batch, spec, made)
        told = self.journal(batch, row_ids)
        more = {name: value for name, value in batch.statistics.items() if name not in SPLITS}
        return Rewritten(part, told, index, measured.splits, {**more, **measured.statistics})

    def _index(self, batch: Batch, spec: PipelineSpec, part: IO[bytes] | None) -> tuple[str, str]:
        if not batch.index_uri and not batch.part_uri:
            return "", ""
        with rewritten_index(self._artifacts, batch, spec, part, self._folder) as made:
            return self._store(batch, made, "index")

    def _filtered(self, batch: Batch, schema: Schema, row_ids: Collection[str], made: IO[bytes]) -> Measured:
        gone = pa.array(sorted(row_ids), pa.string())
        with pq.ParquetFile(self._artifacts.fetch_file(batch.part_uri, batch.part_digest)) as file:
            shape = file.schema_arrow

            def kept() -> Iterator[pa.RecordBatch]:
                with pq.ParquetWriter(made, shape, compression="zstd") as writer:
                    for chunk in file.iter_batches(READ_ROWS):
                        rest = chunk.filter(pc.invert(pc.is_in(chunk["row_id"], gone)))
                        writer.write_batch(rest)
                        yield rest

            return measure(kept(), schema)

    def journal(self, batch: Batch, row_ids: Collection[str]) -> tuple[str, str]:
        """The batch's journal without a word about these rows; empty when nothing is left to tell."""
        if not batch.journal_uri:
            return "", ""
        old = self._artifacts.fetch_file(batch.journal_uri, batch.journal_digest)
        made = journal.without(old, row_ids, self._folder)
        if made is None:
            return "", ""
        with made:
            return self._store(batch, made, "journal.parquet")

    def _store(self, batch: Batch, made: IO[bytes], ending: str) -> tuple[str, str]:
        uri = f"{ROOT}/{batch.pipeline}/{FOLDER}/{batch.id}.{new_id('part')}.{ending}"
        made.seek(0)
        digest = hashlib.file_digest(made, "sha256").hexdigest()  # type: ignore[arg-type]
        made.seek(0)
        with self._artifacts.create(uri) as file:
            shutil.copyfileobj(made, file, CHUNK_BYTES)
        return uri, digest
