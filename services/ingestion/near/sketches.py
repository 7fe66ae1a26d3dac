"""What the leak check knows of a part: read once from its Parquet file, kept beside it for the next check."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from services.ingestion.near.columns import read_columns, write_columns
from services.ingestion.near.hashing import Array, Places, Words
from services.ingestion.near.keys import key_digest, key_reader
from services.ingestion.near.shingles import Sets, joined, shingled
from shared.errors import DataCorrupted
from shared.rows import SCHEMAS
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import BOOKKEEPING, Manifest, Part
from shared.storage.ids import new_id

REVISION = 1
"""Raised when keys or shingles are made in another way, so that sketches of old are made anew."""
READ_ROWS = 4096
DIGEST_CHARACTERS = 32
"""Of a row id, what is compared."""


@dataclass(frozen=True)
class Sketch:
    """Of the rows of a part, in stored order: the first 16 bytes of the ids, both halves of the digests of their split
    keys, their sides as places in SPLITS, and their shingles (of each the same one where they are not needed)."""

    row_ids: Words
    keys: Words
    sides: Array
    sets: Sets

    def __len__(self) -> int:
        return len(self.sides)

    def take(self, rows: Places) -> "Sketch":
        return Sketch(self.row_ids[rows], self.keys[rows], self.sides[rows], self.sets.take(rows))


class Sketches:
    """Those of a manifest's parts, kept in a folder of this machine; what other parts left there is removed."""

    def __init__(self, artifacts: Artifacts, manifest: Manifest, *, near: bool) -> None:
        """With `near` they hold shingles."""
        self._artifacts, self._manifest, self._near = artifacts, manifest, near
        self._folder = artifacts.cache / "sketches" / manifest.pipeline
        self._folder.mkdir(parents=True, exist_ok=True)

    def of(self, part: Part) -> Sketch:
        """The rows of the part that count. Raises NotFound or DataCorrupted for one that is not as it was written."""
        kept = self._folder / self._name(part)
        with suppress(FileNotFoundError, DataCorrupted):
            return _counting(_stored(kept), part)
        found = read_sketch(self._artifacts.fetch_file(part.uri, part.digest), self._manifest, near=self._near)
        aside = kept.with_name(new_id("aside"))
        try:
            with aside.open("wb") as file:
                write_columns(file, {}, _arrays(found))
            aside.replace(kept)
        finally:
            aside.unlink(missing_ok=True)
        return _counting(found, part)

    def remove_others(self) -> None:
        """Rows that were deleted leave nothing behind."""
        named = {self._name(part) for part in self._manifest.parts}
        for path in self._folder.iterdir():
            if path.name not in named and not path.name.startswith("aside"):
                path.unlink(missing_ok=True)

    def _name(self, part: Part) -> str:
        return f"{part.digest}.{REVISION}{'' if self._near else '.plain'}"


def read_sketch(source: Path, manifest: Manifest, *, near: bool) -> Sketch:
    """The sketch of a Parquet part, from its rows alone."""
    read, pipeline, chunks = key_reader(manifest.kind), manifest.pipeline, []
    sides = {side: place for place, side in enumerate(SPLITS)}
    with pq.ParquetFile(source) as file:
        told = SCHEMAS[manifest.kind].key_columns or [n for n in file.schema_arrow.names if n not in BOOKKEEPING]
        wanted = [name for name in ("row_id", "split", *told) if name in file.schema_arrow.names]
        for batch in file.iter_batches(READ_ROWS, columns=[*dict.fromkeys(wanted)]):
            rows: list[dict[str, Any]] = batch.drop_columns(["row_id", "split"]).to_pylist()
            keys = [read(row) for row in rows]
            chunks.append(
                Sketch(
                    id_halves(batch["row_id"].to_pylist()),
                    halves([key_digest(pipeline, key) for key in keys]),
                    np.array([sides[split] for split in batch["split"].to_pylist()], np.uint8),
                    shingled(keys) if near else Sets(np.arange(len(keys) + 1), np.zeros(len(keys), np.uint32)),
                )
            )
    return joined_sketches(chunks)


def joined_sketches(chunks: Sequence[Sketch]) -> Sketch:
    if len(chunks) == 1:
        return chunks[0]
    nothing = np.zeros((0, 2), np.uint64)
    return Sketch(
        np.concatenate([nothing, *(chunk.row_ids for chunk in chunks)]),
        np.concatenate([nothing, *(chunk.keys for chunk in chunks)]),
        np.concatenate([np.zeros(0, np.uint8), *(chunk.sides for chunk in chunks)]),
        joined(chunk.sets for chunk in chunks),
    )


def halves(digests: Sequence[bytes]) -> Words:
    """Digests of 16 bytes as pairs of numbers that compare as the bytes do; shape (digests, 2)."""
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64).reshape(-1, 2)


def id_halves(ids: Sequence[str]) -> Words:
    """The first 16 bytes of row ids as pairs of numbers; shape (ids, 2). Raises DataCorrupted for what is no id."""
    try:
        digests = bytes.fromhex("".join([id[:DIGEST_CHARACTERS] for id in ids]))
    except ValueError:
        digests = b""
    if len(digests) != 16 * len(ids):
        raise DataCorrupted("a row of a stored part has an id that is no SHA-256 in hex")
    return halves([digests])


def _counting(sketch: Sketch, part: Part) -> Sketch:
    return sketch if part.test else sketch.take(np.flatnonzero(sketch.sides != SPLITS.index("test")))


def _arrays(sketch: Sketch) -> dict[str, Array]:
    arrays = {"row_ids": sketch.row_ids.ravel(), "keys": sketch.keys.ravel(), "sides": sketch.sides}
    return {**arrays, "offsets": sketch.sets.offsets, "members": sketch.sets.members}


def _stored(path: Path) -> Sketch:
    arrays = read_columns(path).arrays
    row_ids, keys = (arrays[name].reshape(-1, 2) for name in ("row_ids", "keys"))
    return Sketch(row_ids, keys, arrays["sides"], Sets(arrays["offsets"], arrays["members"]))
