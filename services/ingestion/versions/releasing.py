"""The rows of a held batch on their way back: less those that others have brought meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.ingestion.figures.statistics import Statistics
from services.ingestion.index.indexes import Indexes
from services.ingestion.index.rewriting import rewritten_index
from services.ingestion.index.view import View
from services.ingestion.near.hashing import Words
from services.ingestion.near.sketches import id_halves
from services.ingestion.scratch import scratch_file
from services.ingestion.storing.journal import Entry
from services.ingestion.storing.part_file import write_part
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import READ_ROWS
from shared.storage.tables import Batch


class Released:
    """A batch's files without the rows that the dataset has by now; sides and clusters stay."""

    def __init__(self, batch: Batch, spec: PipelineSpec, artifacts: Artifacts, indexes: Indexes, folder: Path) -> None:
        """Raises NotFound or DataCorrupted when the batch's files are not as they were written."""
        self._batch, self._spec, self._artifacts, self._indexes = batch, spec, artifacts, indexes
        self._folder = folder
        self._path = artifacts.fetch_file(batch.part_uri, batch.part_digest) if batch.part_uri else None
        self._made = self._write()

    @property
    def rows(self) -> int:
        return sum(self.splits.values())

    @property
    def splits(self) -> dict[str, int]:
        return self._made.splits

    @property
    def statistics(self) -> Statistics:
        return {**self._made.statistics, **self._of_all_rows()}

    @property
    def duplicates(self) -> int:
        return self._batch.duplicates + self._made.dropped

    @property
    def near_duplicates(self) -> int:
        return min(self._batch.near_duplicates, self.rows)

    def files(self) -> dict[str, IO[bytes]]:
        return {"parquet": self._made.part, "index": self._made.segment} if self.rows else {"index": self._made.segment}

    def fates(self) -> Iterator[Entry]:
        return iter(())

    def is_overtaken(self, now: View) -> bool:
        return bool(now.has(self._made.ids).any())

    def again(self) -> "Released":
        self._made.close()
        self._made = self._write()
        return self

    def close(self) -> None:
        self._made.close()

    def _of_all_rows(self) -> Statistics:
        """What can't be told of fewer rows without their neighbours."""
        return {name: self._batch.statistics[name] for name in ("conflicts",) if name in self._batch.statistics}

    def _write(self) -> "_Made":
        view, ids, kept = self._indexes.view(self._spec), [np.zeros((0, 2), np.uint64)], 0
        part = scratch_file(self._folder)

        def rest() -> Iterator[pa.RecordBatch]:
            nonlocal kept
            for chunk in chunks:
                found = id_halves(chunk["row_id"].to_pylist())
                new = ~view.has(found)
                ids.append(found[new])
                kept += int(new.sum())
                yield chunk.filter(pa.array(new))

        try:
            if self._path is None:
                index = rewritten_index(self._artifacts, self._batch, self._spec, None, self._folder)
                return _Made(part, index, ids[0], {}, {}, 0)
            with pq.ParquetFile(self._path) as file:
                chunks = file.iter_batches(READ_ROWS)
                found = write_part(part, rest(), file.schema_arrow, SCHEMAS[self._spec.kind])
            index = rewritten_index(self._artifacts, self._batch, self._spec, part if kept else None, self._folder)
        except BaseException:
            part.close()
            raise
        dropped = self._batch.accepted - kept
        return _Made(part, index, np.concatenate(ids), dict(found.splits), dict(found.statistics), dropped)


class _Made(NamedTuple):
    part: IO[bytes]
    segment: IO[bytes]
    ids: Words
    splits: dict[str, int]
    statistics: Statistics
    dropped: int

    def close(self) -> None:
        self.part.close()
        self.segment.close()
