"""Reading sealed dataset versions: a manifest that lists Parquet parts, one a batch.

Ingestion writes them; training, evaluation and clients read them. Needs pyarrow, not torch.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DataCorrupted
from shared.storage.artifacts import Artifacts

READ_ROWS = 4096


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


@dataclass(frozen=True)
class Manifest:
    """What a dataset version holds; its digest covers every part's digest in order."""

    pipeline: str
    version: int
    kind: str
    digest: str
    parts: tuple[Part, ...]

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
        for record_batch in file.iter_batches(READ_ROWS):
            wanted = record_batch if split is None else record_batch.filter(pc.equal(record_batch["split"], split))
            yield from wanted.to_pylist()
