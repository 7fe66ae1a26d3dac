"""Checked rows on disk until it is known what becomes of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.ingestion.intake.checked import CheckedRow
from services.ingestion.near.hashing import Places
from services.ingestion.scratch import scratch_file

CAME = ("row_id", "line", "flags")
"""Columns that say how a row came; the others are the kind's."""


class RowFile:
    """A list of rows as Arrow columns in a file without a name; `shape` is that of the part they may go to."""

    def __init__(self, folder: Path, shape: pa.Schema) -> None:
        self._shape = pa.schema([field for field in shape if field.name not in ("split", "cluster")])
        self._file = scratch_file(folder)
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), self._shape)

    def write(self, rows: Sequence[CheckedRow]) -> None:
        values: dict[str, list[Any]] = {
            "row_id": [row.row_id for row in rows],
            "line": [row.received.line for row in rows],
            "flags": [row.flags or None for row in rows],
        }
        names = [name for name in self._shape.names if name not in CAME]
        values |= {name: [row.fields[name] for row in rows] for name in names}
        arrays = [pa.array(values[field.name], field.type) for field in self._shape]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._shape))

    def finish(self) -> None:
        self._writer.close()
        self._file.flush()

    def read(self) -> Iterator[pa.RecordBatch]:
        self._file.seek(0)
        with pa.ipc.open_stream(pa.PythonFile(self._file, "r")) as chunks:
            yield from chunks

    def pick(self, places: Places) -> Iterator[tuple[int, dict[str, Any]]]:
        """Some rows, by their places in rising order."""
        if not len(places):
            return
        start = 0
        for chunk in self.read():
            end = start + chunk.num_rows
            inside = places[np.searchsorted(places, start) : np.searchsorted(places, end)]
            if len(inside):
                rows = chunk.take(pa.array(inside - start)).to_pylist()
                yield from zip(inside.tolist(), rows, strict=True)
            start = end

    def close(self) -> None:
        self._file.close()
