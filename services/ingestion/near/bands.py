"""MinHash and locality-sensitive hashing: sets that are alike meet in at least one of some bands.

Source: Broder 1997 (a set's least hash equals another's with a chance of their Jaccard similarity); Indyk and Motwani
1998, Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4 (bands of r least hashes: a pair of similarity
s is missed with a chance of (1 - s**r)**bands).
"""

import math
from dataclasses import dataclass

import numpy as np

from services.ingestion.near.hashing import HALF, Words, mixed, pair_of
from services.ingestion.near.shingles import Sets

MISSED = 1e-4
"""At most this is the chance to miss a pair whose similarity is exactly the threshold."""
MEETING = 0.4
"""About the chance that such a pair meets in one band; more hashes a band would need many more bands."""
MOST_HASHES = 8
BLOCK = 8192
"""Sets whose least hashes are found at once; their numbers stay in the processor's cache."""


@dataclass(frozen=True)
class Bands:
    """How many bands of how many least hashes, and the seed of the hash functions."""

    hashes: int
    count: int
    seed: int

    @classmethod
    def for_threshold(cls, threshold: float, seed: int, missed: float = MISSED) -> "Bands":
        """As few bands as keep the chance to miss a pair at the threshold below `missed`."""
        if threshold >= 1:
            return cls(MOST_HASHES, 1, seed)
        hashes = min(MOST_HASHES, max(2, round(math.log(MEETING) / math.log(threshold))))
        return cls(hashes, math.ceil(math.log(missed) / math.log1p(-(threshold**hashes))), seed)

    def missed(self, similarity: float) -> float:
        """The chance that a pair of this similarity meets in no band."""
        return float((1 - similarity**self.hashes) ** self.count)


def banded(sets: Sets, bands: Bands) -> Words:
    """Every band of every set as (its hash << 32) + the set's number, in rising order."""
    found = np.empty(bands.count * len(sets), np.uint64)
    for start in range(0, len(sets), BLOCK):
        block = _block(sets, bands, start)
        found[bands.count * start : bands.count * start + len(block)] = block
    found.sort()
    return found


def _block(sets: Sets, bands: Bands, first: int) -> Words:
    offsets = sets.offsets[first : first + BLOCK + 1]
    members = sets.members[offsets[0] : offsets[-1]].astype(np.uint64)
    starts, numbers = offsets[:-1] - offsets[0], np.arange(first, first + len(offsets) - 1)
    factors = np.random.default_rng(bands.seed).integers(1 << 63, size=(bands.count, bands.hashes, 2), dtype=np.uint64)
    found = []
    for band in factors:
        value = np.full(len(numbers), band[0, 0], np.uint64)
        for factor, shift in band:
            hashed = (members * (factor | np.uint64(1)) + shift) >> HALF
            value = mixed(value * np.uint64(31) + np.minimum.reduceat(hashed, starts))
        found.append(pair_of(value >> HALF, numbers))
    return np.concatenate(found)
