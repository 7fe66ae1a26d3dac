"""What one batch, or several, add to a pipeline's index of rows: sorted columns that never change.

Four tables. `digests`: ids of rows (16 bytes in two columns), for exact copies. `keys`: digests of split keys, with
the cluster, the side, and a hash of the label (0 for none). `groups`: hashes of group keys, with cluster and side.
Sets of shingles, each
with cluster and side, and the bands under which they are found.
`links` are pairs of clusters that a row has shown to be one; the second stands for both. A `source` is a batch, as a
place in `sources`; rows that were deleted keep only their keys, so that their side is remembered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from services.ingestion.near.bands import Bands
from services.ingestion.near.columns import read_columns, write_columns
from services.ingestion.near.hashing import LOW, Array, Places, Words
from services.ingestion.near.shingles import EMPTY, Sets, joined, spread
from shared.errors import DataCorrupted

REVISION = 1
BLOCK = 1 << 20
TABLES: dict[str, dict[str, Any]] = {
    "digests": {"digests_low": np.uint64, "digest_sources": np.uint32},
    "keys": {
        "keys_low": np.uint64,
        "key_clusters": np.uint64,
        "key_sides": np.uint8,
        "key_labels": np.uint32,
        "key_sources": np.uint32,
    },
    "groups": {"group_clusters": np.uint64, "group_sides": np.uint8},
}
"""A table is sorted by the column it is called after (64 bits); the others go along."""
SETS = {"set_clusters": np.uint64, "set_sides": np.uint8, "set_sources": np.uint32}
TYPES = {
    **dict.fromkeys(TABLES, np.uint64),
    **{name: kind for table in TABLES.values() for name, kind in table.items()},
    **SETS,
    "bands": np.uint64,
    "links": np.uint64,
    "offsets": np.int64,
    "members": np.uint32,
}
SOURCES = ("digest_sources", "key_sources", "set_sources")


@dataclass(frozen=True, eq=False)
class Segment:
    """Columns by name (TYPES), whose rows they are, and how sets were banded (None: there are no sets)."""

    sources: tuple[str, ...]
    bands: Bands | None
    columns: Mapping[str, Array]
    in_file: bool = False
    """Whether its columns are read through the page cache."""

    @property
    def sets(self) -> Sets:
        return Sets(self.columns["offsets"], self.columns["members"])

    @property
    def weight(self) -> int:
        """About its rows."""
        return len(self.columns["keys"]) + len(self.columns["members"]) // 8

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]


def made(
    sources: Sequence[str], bands: Bands | None, columns: Mapping[str, Array], sets: Sets = EMPTY, entries: Any = None
) -> Segment:
    """A segment of unsorted tables; missing columns are empty. `entries` are the bands of `sets`, sorted."""
    whole = {name: np.zeros(0, kind) for name, kind in TYPES.items()}
    whole |= {name: np.asarray(values, TYPES[name]) for name, values in columns.items()}
    whole |= {"offsets": sets.offsets, "members": sets.members}
    if entries is not None:
        whole["bands"] = entries
    for first, others in TABLES.items():
        order = np.argsort(whole[first], kind="stable")
        whole |= {name: whole[name][order] for name in (first, *others)}
    return Segment(tuple(sources), bands, whole)


def merged(segments: Sequence[Segment]) -> Segment:
    """Several as one. All must be banded alike."""
    if len(segments) == 1:
        return segments[0]
    sources: list[str] = []
    columns: dict[str, list[Array]] = {name: [] for name in TYPES}
    entries, sets = [], 0
    for segment in segments:
        for name in TYPES:
            shift = len(sources) if name in SOURCES else 0
            columns[name].append(segment[name] + np.uint32(shift) if shift else segment[name])
        entries.append(segment["bands"] + np.uint64(sets))
        sets += len(segment.sets)
        sources += segment.sources
    names = [name for name in TYPES if name not in ("offsets", "members", "bands")]
    whole = {name: np.concatenate(columns[name]) for name in names}
    bands = np.sort(np.concatenate(entries))
    return made(sources, segments[0].bands, whole, joined(segment.sets for segment in segments), bands)


def write_segment(file: IO[bytes], segment: Segment) -> None:
    bands = segment.bands
    plan = [bands.hashes, bands.count, bands.seed] if bands else None
    about = {"revision": REVISION, "sources": list(segment.sources), "bands": plan}
    write_columns(file, about, segment.columns)


def read_segment(path: Path) -> Segment:
    """Raises DataCorrupted when it is not as it was written, or of another make."""
    about, columns = read_columns(path)
    if about.get("revision") != REVISION or set(columns) != set(TYPES):
        raise DataCorrupted(f"{path.name} is an index of another make")
    bands = Bands(*about["bands"]) if about["bands"] else None
    return Segment(tuple(about["sources"]), bands, columns, in_file=True)


def matching(values: Array, wanted: Array) -> tuple[Places, Places]:
    """For sorted `values`: places in `wanted`, and every place in `values` that holds the same."""
    left = np.searchsorted(values, wanted, "left")
    counts = np.searchsorted(values, wanted, "right") - left
    return np.repeat(np.arange(len(wanted)), counts), spread(left, counts)


def take_bands(entries: Words, numbers: Places, sets: int) -> Words:
    """Bands of some of `sets` sets, which are counted anew in the order of `numbers` (rising)."""
    renumbered = np.full(sets, -1, np.int64)
    renumbered[numbers] = np.arange(len(numbers))
    chunks = [np.zeros(0, np.uint64)]
    for start in range(0, len(entries), BLOCK):
        block = entries[start : start + BLOCK]
        found = renumbered[(block & LOW).astype(np.int64)]
        kept = found >= 0
        chunks.append((block[kept] & ~LOW) | found[kept].astype(np.uint64))
    return np.concatenate(chunks)
