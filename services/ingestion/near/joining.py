"""Pairs of sets whose Jaccard similarity reaches a threshold: candidates by bands, each verified exactly.

Sets that share a band lie in one bucket. A small bucket gives all its pairs. In a large one (rows made from one
template) only sets that share a rare shingle are paired: of sets with similarity t or more at least one of the
|x| - ceil(t |x|) + 1 rarest shingles of x is among those of y (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and
Srikant 2007), so nothing is lost and a template costs nothing. Only where more than `WINDOW` sets share even a rare
shingle is each compared with the next `WINDOW` of like size, so that hostile rows can't take hours.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from services.ingestion.near.components import connected
from services.ingestion.near.hashing import HALF, Mask, Places, Words, pair_of, parts_of, unique
from services.ingestion.near.shingles import Sets, spread, starts_of

SMALL_BUCKET = 16
HUGE_BUCKET = 4096
WINDOW = 64
BLOCK_MEMBERS = 1 << 21
"""Shingles that are looked at in one go; bounds the memory."""
ROUNDING = 1e-9

Wanted = Callable[[Places, Places], Mask]
"""Which of some pairs may count at all."""


@dataclass(frozen=True)
class Pairs:
    """Sets that are close: `first` < `second`, and their similarity."""

    first: Places
    second: Places
    similarity: "np.ndarray[tuple[int], np.dtype[np.float64]]"


def close_pairs(entries: Words, sets: Sets, threshold: float, wanted: Wanted, *, spanning: bool) -> Pairs:
    """Pairs of `sets` (whose bands, sorted, are `entries`) that are wanted and close.

    With `spanning` a pair may be left out when others connect its sets anyway: enough for components, and rows that
    are all alike cost no more than others.
    """
    return _Join(sets, threshold, wanted, spanning).run(entries)


class _Join:
    """What was found so far; with `spanning` also which sets it connects."""

    def __init__(self, sets: Sets, threshold: float, wanted: Wanted, spanning: bool) -> None:
        self._sets, self._threshold, self._wanted, self._spanning = sets, threshold, wanted, spanning
        self._roots = np.arange(len(sets))
        self._found: list[Pairs] = []

    def run(self, entries: Words) -> Pairs:
        hashes, numbers = parts_of(entries[shared(entries)])
        starts, lengths = runs_of(hashes)
        small, large = (lengths > 1) & (lengths <= SMALL_BUCKET), lengths > SMALL_BUCKET
        for ahead in range(1, int(lengths[small].max(initial=1))):
            places = _followed(starts[small], lengths[small], ahead)
            self._take(ordered(numbers[places], numbers[places + ahead]))
        self._run_large(numbers, starts[large], lengths[large])
        return _unique(self._found)

    def _run_large(self, numbers: Places, starts: Places, lengths: Places) -> None:
        ranges = zip(starts, lengths, strict=True)
        sizes = self._sets.sizes
        weights = np.array([sizes[numbers[start : start + rows]].sum() for start, rows in ranges], np.int64)
        if self._spanning:
            self._chain(numbers, starts[lengths > HUGE_BUCKET], lengths[lengths > HUGE_BUCKET])
        for block in blocks_of(weights):
            groups = np.repeat(np.arange(len(starts[block])), lengths[block])
            members = numbers[spread(starts[block], lengths[block])]
            for pairs in sharing_rare_ones(*self._apart(groups, members), self._sets, self._threshold):
                self._take(pairs)

    def _chain(self, numbers: Places, starts: Places, lengths: Places) -> None:
        """Compares neighbours in the largest buckets, which is enough where they are all alike."""
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            if np.ptp(self._roots[numbers[start : start + length]]):
                self._take(ordered(numbers[start : start + length - 1], numbers[start + 1 : start + length]))

    def _apart(self, groups: Places, members: Places) -> tuple[Places, Places]:
        """Without groups whose sets are all connected already."""
        if not self._spanning:
            return groups, members
        roots = self._roots[members]
        starts, lengths = runs_of(groups)
        whole = np.minimum.reduceat(roots, starts) == np.maximum.reduceat(roots, starts)
        kept = ~np.repeat(whole, lengths)
        return groups[kept], members[kept]

    def _take(self, candidates: Words) -> None:
        if self._spanning:
            first, second = parts_of(candidates)
            candidates = candidates[self._roots[first] != self._roots[second]]
        if not len(candidates):
            return
        first, second = parts_of(unique(candidates))
        kept = self._wanted(first, second)
        pairs = verified(first[kept], second[kept], self._sets, self._threshold)
        if not len(pairs.first):
            return
        self._found.append(pairs)
        if self._spanning:
            everyone = np.arange(len(self._roots))
            edges = np.append(everyone, pairs.first), np.append(self._roots, pairs.second)
            self._roots = connected(len(everyone), *edges)


def verified(first: Places, second: Places, sets: Sets, threshold: float) -> Pairs:
    """Those of some pairs whose Jaccard similarity is at least the threshold."""
    sizes = sets.sizes
    fits = np.minimum(sizes[first], sizes[second]) >= threshold * np.maximum(sizes[first], sizes[second]) - ROUNDING
    first, second = first[fits], second[fits]
    both = sizes[first] + sizes[second]
    common = np.concatenate(
        [_common(first[part], second[part], sets) for part in blocks_of(both)] or [np.zeros(0, np.int64)]
    )
    similarity = common / np.maximum(both - common, 1)
    close = similarity >= threshold - ROUNDING
    return Pairs(first[close], second[close], similarity[close])


def blocks_of(sizes: Places) -> Iterator[slice]:
    """Ranges of things of these sizes, each of about BLOCK_MEMBERS altogether."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + BLOCK_MEMBERS, "right")))
        yield slice(start, end)
        start = end


def _common(first: Places, second: Places, sets: Sets) -> Places:
    """How many members each pair has in common."""
    numbers = np.concatenate([first, second])
    pairs = np.tile(np.arange(len(first)), 2)
    chosen = sets.take(numbers)
    keys = np.sort(pair_of(np.repeat(pairs, chosen.sizes), chosen.members))
    twice = keys[1:][keys[1:] == keys[:-1]]
    return np.bincount(parts_of(twice)[0], minlength=len(first))


def sharing_rare_ones(groups: Places, numbers: Places, sets: Sets, threshold: float) -> Iterator[Words]:
    """Pairs of one group that share one of their rarest shingles; rarity is counted inside the group."""
    chosen = sets.take(numbers)
    sizes = chosen.sizes
    owners = np.repeat(np.arange(len(numbers)), sizes)
    keys = pair_of(groups[owners], chosen.members)
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.lexsort((keys, counts[which], owners))
    ranks = np.arange(len(order)) - np.repeat(starts_of(sizes)[:-1], sizes)
    rarest = sizes - np.ceil(threshold * sizes - ROUNDING).astype(np.int64) + 1
    places = order[ranks < rarest[owners]]
    places = places[np.lexsort((owners[places], sizes[owners[places]], keys[places]))]
    members = numbers[owners[places]]
    starts, lengths = runs_of(which[places])
    for ahead in range(1, min(WINDOW, int(lengths.max(initial=1)) - 1) + 1):
        pairs = _followed(starts, lengths, ahead)
        yield ordered(members[pairs], members[pairs + ahead])


def shared(entries: Words) -> Mask:
    """Which of some sorted bands another set has as well."""
    found = np.zeros(len(entries), np.bool_)
    for start in range(0, len(entries), BLOCK_MEMBERS):
        hashes = entries[start : start + BLOCK_MEMBERS + 1] >> HALF
        same = np.flatnonzero(hashes[1:] == hashes[:-1]) + start
        found[same] = True
        found[same + 1] = True
    return found


def runs_of(values: Places) -> tuple[Places, Places]:
    """Starts and lengths of runs of equal neighbours."""
    if not len(values):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(values[1:] != values[:-1]) + 1])
    return starts, np.diff(np.append(starts, len(values)))


def ordered(first: Places, second: Places) -> Words:
    """Pairs of different numbers as one number each, the smaller one first."""
    pairs = pair_of(np.minimum(first, second), np.maximum(first, second))
    return np.asarray(pairs[first != second], np.uint64)


def _followed(starts: Places, lengths: Places, ahead: int) -> Places:
    """Places in runs that have another one `ahead` of them in the same run."""
    longer = lengths > ahead
    return spread(starts[longer], lengths[longer] - ahead)


def _edges(found: list[Pairs]) -> tuple[Places, Places]:
    return np.concatenate([pairs.first for pairs in found]), np.concatenate([pairs.second for pairs in found])


def _unique(found: list[Pairs]) -> Pairs:
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    first, second = _edges(found)
    _, places = np.unique(pair_of(first, second), return_index=True)
    similarity = np.concatenate([pairs.similarity for pairs in found])
    return Pairs(first[places], second[places], similarity[places])
