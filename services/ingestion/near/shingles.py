"""Texts as sets of shingles: what two texts have in common, whatever their script.

A shingle is two words in a row. A letter of a script without blanks (Chinese, Japanese, Thai, …) is a word, so a
Chinese shingle is two characters, about one Chinese word. Words and not letters, because most rows are short and many
are alike but for a name or a number: "order 1234" and "order 1235" have most of their letters in common and mean
different things. Pairs and not single words, because the order of words means something. Punctuation, case and blanks
do not count.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from services.ingestion.near.hashing import HALF, LOW, Places, Small, Words, mixed, pair_of, unique
from shared.rows.words import ALONE

_ALONE = "".join(f"{chr(first)}-{chr(last)}" for first, last in ALONE)
WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+")
BLOCK = 65_536
"""Sets that are copied or looked at in one go, so that what is needed on the way stays small."""
NOT_BLANK = re.compile(r"[^\s\0]")
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True)
class Sets:
    """Sets of 32-bit numbers, end to end, each in rising order: set n is members[offsets[n]:offsets[n + 1]].

    Two different shingles of a pair of texts look alike with a chance of (shingles in both) / 2**32.
    """

    offsets: Places
    members: Small

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Places:
        return np.diff(self.offsets)

    def take(self, numbers: Places) -> "Sets":
        """Some of the sets, in the order asked for."""
        sizes = self.sizes[numbers]
        offsets = starts_of(sizes)
        members = np.empty(offsets[-1], np.uint32)
        for start in range(0, len(numbers), BLOCK):
            end = min(start + BLOCK, len(numbers))
            places = spread(self.offsets[numbers[start:end]], sizes[start:end])
            members[offsets[start] : offsets[end]] = self.members[places]
        return Sets(offsets, members)

    def digests(self) -> Words:
        """A number a set, the same for equal sets: 64 bits of the sum of its mixed members."""
        found = np.empty(len(self), np.uint64)
        for start in range(0, len(self), BLOCK):
            offsets = self.offsets[start : start + BLOCK + 1]
            members = self.members[offsets[0] : offsets[-1]].astype(np.uint64)
            found[start : start + BLOCK] = np.add.reduceat(mixed(members), offsets[:-1] - offsets[0])
        return mixed(found)


EMPTY = Sets(np.zeros(1, np.int64), np.zeros(0, np.uint32))


def joined(parts: Iterable[Sets]) -> Sets:
    """Several lists of sets as one."""
    found = list(parts)
    if len(found) < 2:
        return found[0] if found else EMPTY
    return Sets(starts_of(np.concatenate([part.sizes for part in found])), np.concatenate([p.members for p in found]))


def shingled(texts: Sequence[str]) -> Sets:
    """The shingles of each text; every set has at least one."""
    counts, words = [], []
    for text in texts:
        found = [crc32(word.encode()) for word in WORD.findall(text)]
        if not found:
            found = [crc32(sign.encode()) for sign in NOT_BLANK.findall(text)] or [0]
        counts.append(len(found))
        words += found
    sizes, values = np.array(counts, np.int64), np.array(words, np.uint64)
    starts = starts_of(sizes)
    following = np.append(values[1:], np.uint64(0))
    lasts = starts[1:] - 1
    following[lasts] = 0
    pairs = mixed(values * _FIRST + following * _SECOND) >> HALF
    wanted = np.ones(len(values), np.bool_)
    wanted[lasts[sizes > 1]] = False
    rows = np.repeat(np.arange(len(texts)), sizes)
    distinct = unique(pair_of(rows[wanted], pairs[wanted]))
    return Sets(starts_of(np.bincount((distinct >> HALF).astype(np.int64), minlength=len(texts))), _low(distinct))


def starts_of(sizes: Places) -> Places:
    """Where each begins when they lie end to end, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def spread(starts: Places, sizes: Places) -> Places:
    """The places starts[n], starts[n] + 1, … of each range, end to end."""
    shifts = np.repeat(starts - starts_of(sizes)[:-1], sizes)
    return np.asarray(shifts + np.arange(len(shifts)), np.int64)


def _low(pairs: Words) -> Small:
    return (pairs & LOW).astype(np.uint32)
