"""Proof that no row of a dataset version stands, or nearly stands, on another side of the split as well.

Independent of what clustered the rows: it reads the parts as they are stored, makes their split keys and shingles anew
and uses bands of another seed, and more of them. Rows that no new part can touch are passed over without loss: a set
of which less than the threshold's share occurs anywhere in the new rows is close to none of them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from services.ingestion.near.bands import Bands, banded
from services.ingestion.near.hashing import Array, Mask, Places, Small, parts_of, unique
from services.ingestion.near.joining import ROUNDING, close_pairs, ordered, runs_of
from services.ingestion.near.sketches import Sketch, Sketches, joined_sketches
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import Manifest

SEED = 0x1EAC
MISSED = 1e-6
MOST_PAIRS = 1000
"""Of those found so many are told."""


class LeakedRow(NamedTuple):
    """A row by its batch, the first 32 characters of its id, and its side."""

    batch: str
    row_id: str
    split: str


class LeakPair(NamedTuple):
    """Two rows on two sides; similarity 1 means the same split key or the same shingles."""

    first: LeakedRow
    second: LeakedRow
    similarity: float


@dataclass(frozen=True)
class LeakReport:
    """`pairs` are the first thousand; `exact` and `near` count all of them; `rows` is how many were compared;
    `missed_probability` is the chance that a pair at the threshold was not found."""

    pairs: tuple[LeakPair, ...]
    exact: int
    near: int
    rows: int
    missed_probability: float


def check_leaks(
    artifacts: Artifacts, manifest: Manifest, new_parts: Collection[str] | None, threshold: float | None
) -> LeakReport:
    """Pairs of rows on different sides that have one split key, or whose shingles have at least this Jaccard
    similarity; with None for `threshold` only the former.

    `new_parts` are ids of batches: only pairs with a row of theirs are looked for, because an earlier check saw the
    others. None looks for all. Raises NotFound or DataCorrupted for a part that is not as it was written.
    """
    new = {part.batch for part in manifest.parts} if new_parts is None else set(new_parts)
    sketches = Sketches(artifacts, manifest, near=threshold is not None)
    ours = [(part.batch, sketches.of(part)) for part in manifest.parts if part.batch in new]
    rows, fresh = sum(part.rows for part in manifest.parts), joined_sketches([sketch for _, sketch in ours])
    theirs = []
    touched = Touched(fresh, threshold)
    for part in manifest.parts:
        if part.batch not in new:
            sketch = sketches.of(part)
            theirs.append((part.batch, sketch.take(touched.by(sketch))))
    sketches.remove_others()
    return _report([*ours, *theirs], fresh, rows, threshold)


class Touched:
    """Tells which rows of a sketch may form a pair with a fresh one."""

    def __init__(self, fresh: Sketch, threshold: float | None) -> None:
        self._keys = unique(fresh.keys[:, 0])
        self._members: Small = unique(fresh.sets.members)
        self._threshold = threshold

    def by(self, sketch: Sketch) -> Places:
        found = among(sketch.keys[:, 0], self._keys)
        if self._threshold is not None and len(sketch):
            shared = np.add.reduceat(
                among(sketch.sets.members, self._members), sketch.sets.offsets[:-1], dtype=np.int64
            )
            found |= shared >= self._threshold * sketch.sets.sizes - ROUNDING
        return np.flatnonzero(found)


def among(values: Array, known: Array) -> Mask:
    """Which values are among some that are sorted and unique; quick where few are."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    bits = 8 * values.dtype.itemsize - 20
    possible = np.zeros(1 << 20, np.bool_)
    possible[known >> known.dtype.type(bits)] = True
    found = possible[values >> values.dtype.type(bits)]
    places = np.flatnonzero(found)
    some = values[places]
    at = np.minimum(np.searchsorted(known, some), len(known) - 1)
    found[places] = known[at] == some
    return np.asarray(found, np.bool_)


def _report(parts: list[tuple[str, Sketch]], new: Sketch, rows: int, threshold: float | None) -> LeakReport:
    touched = [sketch for _, sketch in parts if len(sketch)]
    fresh, whole = len(new), joined_sketches(touched) if sum(map(len, touched)) > len(new) else new

    def wanted(first: Places, second: Places) -> Mask:
        """One of the rows is fresh, they stand on two sides, and their keys differ."""
        apart = whole.sides[first] != whole.sides[second]
        kept = apart & (np.minimum(first, second) < fresh) & ~_equal(whole, first, second)
        return np.asarray(kept, np.bool_)

    exact = _same_keys(whole, fresh)
    found = [(int(a), int(b), 1.0) for a, b in zip(*exact, strict=True)][:MOST_PAIRS]
    missed, near = 0.0, 0
    if threshold is not None:
        bands = Bands.for_threshold(threshold, SEED, MISSED)
        missed = bands.missed(threshold)
        close = close_pairs(banded(whole.sets, bands), whole.sets, threshold, wanted, spanning=False)
        near = len(close.first)
        found += list(zip(close.first.tolist(), close.second.tolist(), close.similarity.tolist(), strict=True))
    owners = np.repeat(np.arange(len(parts)), [len(sketch) for _, sketch in parts])

    def row(place: int) -> LeakedRow:
        row_id = "".join(f"{half:016x}" for half in whole.row_ids[place].tolist())
        return LeakedRow(parts[owners[place]][0], row_id, SPLITS[whole.sides[place]])

    pairs = tuple(LeakPair(row(a), row(b), round(likeness, 4)) for a, b, likeness in found[:MOST_PAIRS])
    return LeakReport(pairs, len(exact[0]), near, rows, missed)


def _same_keys(whole: Sketch, fresh: int) -> tuple[Places, Places]:
    """Neighbours of one key on two sides, at least one such pair for every key that stands on two."""
    order = np.lexsort((whole.sides, whole.keys[:, 1], whole.keys[:, 0]))
    first, second = order[:-1], order[1:]
    found = _equal(whole, first, second) & (whole.sides[first] != whole.sides[second])
    starts, lengths = runs_of(np.cumsum(np.append(True, ~_equal(whole, first, second))) if len(order) else order)
    newest = np.repeat(np.minimum.reduceat(order, starts), lengths) if len(order) else order
    found &= newest[1:] < fresh
    return parts_of(ordered(first[found], second[found]))


def _equal(whole: Sketch, first: Places, second: Places) -> Mask:
    return np.asarray((whole.keys[first] == whole.keys[second]).all(axis=1), np.bool_)
