"""Reading sealed dataset versions: a manifest that lists Parquet parts, one a batch.

Ingestion writes them; training, evaluation and clients read them. Needs pyarrow, not torch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import DataCorrupted
from shared.storage.artifacts import Artifacts

READ_ROWS = 4096
BOOKKEEPING = frozenset({"line", "cluster", "flags"})
"""Columns of a part that say how a row came in; they are no part of the row."""


@dataclass(frozen=True)
class Part:
    """The accepted rows of one batch: a Parquet file with `row_id`, `split` and the kind's fields.

    `test` is False when its test-side rows must never judge a model (the batch was once held).
    """

    batch: str
    uri: str
    digest: str
    train: int
    validation: int
    test_rows: int
    test: bool
    root: str = ""
    """Merkle root over the rows that count (shared.storage.merkle), in hex; empty in manifests of old."""
    source: str = ""
    licence: str = ""

    @property
    def rows(self) -> int:
        """Those that count."""
        return self.train + self.validation + self.test_rows * self.test


@dataclass(frozen=True)
class Manifest:
    """What a dataset version holds; its digest covers every part's digest in order.

    What stands below `parts` is missing in manifests of old.
    """

    pipeline: str
    version: int
    kind: str
    digest: str
    parts: tuple[Part, ...]
    merkle_root: str = ""
    """Over the roots of the parts that have rows, in hex."""
    parent: int = 0
    """The version before it; 0 for the first."""
    schema: dict[str, Any] = field(default_factory=dict)
    """`kind`, `version` and `columns` of the stored rows."""
    rules: dict[str, Any] = field(default_factory=dict)
    """The pipeline's section `data` when it was sealed, and `revision`, the pipeline's."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by split."""
    sources: dict[str, int] = field(default_factory=dict)
    """Rows by source."""
    licences: dict[str, int] = field(default_factory=dict)
    """Rows by licence; the empty one stands for none."""
    leak_check: dict[str, Any] = field(default_factory=dict)
    """What the check before sealing looked at and found."""

    def to_json(self) -> bytes:
        fields = {**self.__dict__, "parts": [part.__dict__ for part in self.parts]}
        return json.dumps(fields, sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Raises DataCorrupted when it is no manifest."""
        try:
            fields = json.loads(data)
            return cls(**{**fields, "parts": tuple(Part(**part) for part in fields["parts"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DataCorrupted(f"unreadable dataset manifest: {error}") from None


def read_manifest(artifacts: Artifacts, uri: str) -> Manifest:
    return Manifest.from_json(artifacts.read_bytes(uri))


def read_rows(
    artifacts: Artifacts, manifest: Manifest, split: str | None = None, batches: frozenset[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows in stored order, each a dict with `row_id`, `split`, `batch` and the kind's fields.

    Memory stays at one row group; test rows of a part that may not judge are left out.
    """
    for part in manifest.parts:
        if batches is not None and part.batch not in batches:
            continue
        for row in read_part(artifacts.fetch_file(part.uri, part.digest), split):
            if row["split"] != "test" or part.test:
                yield {**row, "batch": part.batch}


def read_part(path: Path, split: str | None) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if name not in BOOKKEEPING]
        for record_batch in file.iter_batches(READ_ROWS, columns=columns):
            wanted = record_batch if split is None else record_batch.filter(pc.equal(record_batch["split"], split))
            yield from wanted.to_pylist()


def read_sides(path: Path, test: bool) -> Iterator[tuple[str, str]]:
    """Id and side of a part's rows that count, in stored order; without test rows unless `test`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for record_batch in file.iter_batches(READ_ROWS, columns=["row_id", "split"]):
            ids, sides = (record_batch[name].to_pylist() for name in ("row_id", "split"))
            for row_id, side in zip(ids, sides, strict=True):
                if test or side != "test":
                    yield row_id, side
