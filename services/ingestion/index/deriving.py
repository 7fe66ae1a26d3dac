"""The index of rows that are stored already: of batches from before there were segments, and of rewritten parts."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq

from services.ingestion.index.segment import Segment, made
from services.ingestion.index.view import NO_LABEL
from services.ingestion.near.bands import Bands, banded
from services.ingestion.near.hashing import Array, Words, mixed
from services.ingestion.near.keys import key_digest, key_reader
from services.ingestion.near.shingles import Sets, joined, shingled
from services.ingestion.near.sketches import halves, id_halves
from shared.pipelines.kinds import KINDS
from shared.rows import SCHEMAS
from shared.rows.splits import SPLITS

READ_ROWS = 4096


def segment_of_part(path: Path | IO[bytes], pipeline: str, kind: str, source: str, bands: Bands | None) -> Segment:
    """The segment of a stored part: sides as they are stored; clusters, where the part has none, by the split key."""
    read, schema, labelled = key_reader(kind), SCHEMAS[kind], KINDS[kind].labelled
    ids, keys, sides, labels, clusters, sets = [], [], [], [], [], []
    with pq.ParquetFile(path) as file:
        wanted = [name for name in ("row_id", "split", "cluster", *schema.columns) if name in file.schema_arrow.names]
        for batch in file.iter_batches(READ_ROWS, columns=wanted):
            rows = batch.to_pylist()
            texts = [read(row) for row in rows]
            digests = [key_digest(pipeline, text) for text in texts]
            ids += [row["row_id"] for row in rows]
            keys += digests
            sides += [SPLITS.index(row["split"]) for row in rows]
            labels += [label_hash(schema.labels(row)) if labelled else NO_LABEL for row in rows]
            known = (row.get("cluster") for row in rows)
            clusters += [int(one or key.hex()[:16], 16) for one, key in zip(known, digests, strict=True)]
            if bands:
                sets.append(shingled(texts))
    columns = row_columns(
        id_halves(ids), halves(keys), np.array(clusters, np.uint64), np.array(sides), np.array(labels)
    )
    if not bands or not keys:
        return made([source], bands, columns)
    chosen, first = distinct(joined(sets))
    near = set_columns(chosen, columns["key_clusters"][first], columns["key_sides"][first])
    return made([source], bands, columns | near, chosen, banded(chosen, bands))


def row_columns(ids: Words, keys: Words, clusters: Words, sides: Array, labels: Array) -> dict[str, Array]:
    """The columns of a segment of one source that tell of rows; ids and keys come as both halves, shape (rows, 2)."""
    return {
        "digests": ids[:, 0],
        "digests_low": ids[:, 1],
        "digest_sources": np.zeros(len(ids), np.uint32),
        "keys": keys[:, 0],
        "keys_low": keys[:, 1],
        "key_clusters": clusters,
        "key_sides": sides,
        "key_labels": labels,
        "key_sources": np.zeros(len(keys), np.uint32),
    }


def set_columns(sets: Sets, clusters: Words, sides: Array) -> dict[str, Array]:
    """The columns that tell of distinct sets."""
    return {
        "set_clusters": clusters,
        "set_sides": sides,
        "set_sources": np.zeros(len(sets), np.uint32),
    }


def distinct(sets: Sets) -> tuple[Sets, Array]:
    """Sets without repetitions, and where each was first."""
    _, first = np.unique(sets.digests(), return_index=True)
    return sets.take(first), first


def label_hash(labels: Sequence[str]) -> int:
    """32 bits of what a row is labelled with; NO_LABEL for nothing."""
    return _hash_of(frozenset(labels)) if labels else NO_LABEL


@lru_cache(maxsize=65_536)
def _hash_of(labels: frozenset[str]) -> int:
    return crc32("\0".join(sorted(labels)).encode()) or 1


def remembered(rewritten: Segment, before: Segment) -> Segment:
    """A rewritten batch's segment that still knows the sides of the keys and groups that were in it before."""
    names = ("keys_low", "key_clusters", "key_sides")
    old, new = (mixed(segment["keys"]) ^ segment["keys_low"] for segment in (before, rewritten))
    gone = ~np.isin(old, new)
    columns = dict(rewritten.columns)
    columns["keys"] = np.concatenate([rewritten["keys"], before["keys"][gone]])
    columns |= {name: np.concatenate([rewritten[name], before[name][gone]]) for name in names}
    for name in ("key_labels", "key_sources"):
        columns[name] = np.concatenate([rewritten[name], np.zeros(int(gone.sum()), np.uint32)])
    columns |= {name: before[name] for name in ("groups", "group_clusters", "group_sides", "links")}
    return made(rewritten.sources, rewritten.bands, columns, rewritten.sets, rewritten["bands"])
