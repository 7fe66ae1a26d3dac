"""What a pipeline's index held at one moment. A view never changes; a newer one shares most of its columns.

Segments are merged as they come so that only a few, each at least twice as heavy as the next, have to be asked
(log-structured merge: O'Neil et al. 1996); ten thousand batches of one row are one segment. Large ones lie in files
without names and are read through the page cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from services.ingestion.index.segment import Segment, matching, merged, read_segment, write_segment
from services.ingestion.near.bands import Bands
from services.ingestion.near.hashing import HALF, LOW, Array, Mask, Places, Words, unique
from services.ingestion.near.shingles import Sets, spread
from shared.storage.ids import new_id

HEAVY = 100_000
REMEMBERED = 1024
"""Of the newest segments so many are also kept by themselves, for those who looked a little earlier."""
NO_LABEL = 0
ACCEPTED, HELD = "accepted", "held"


class Contacts(NamedTuple):
    """That something asked for (by its place) belongs to a cluster of earlier rows, which stands on a side.
    `live`: some batch that counts brought it."""

    asked: Places
    clusters: Words
    sides: Array
    live: Mask

    @classmethod
    def of(cls, found: Sequence["Contacts"]) -> "Contacts":
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(one.asked for one in found)]),
            np.concatenate([np.zeros(0, np.uint64), *(one.clusters for one in found)]),
            np.concatenate([np.zeros(0, np.uint8), *(one.sides for one in found)]),
            np.concatenate([np.zeros(0, np.bool_), *(one.live for one in found)]),
        )


class Near(NamedTuple):
    """Earlier sets that share a band with some asked for: the sets, their bands counted from 0, and whose they are."""

    sets: Sets
    entries: Words
    clusters: Words
    sides: Array
    live: Mask


@dataclass(frozen=True, eq=False)
class View:
    """`states` says of every source that counts or counted whether it is accepted or held; others are gone, and of
    their rows only the side is known. `change` is the last change of the pipeline's batches that it knows."""

    bands: Bands | None
    folder: Path
    change: int = -1
    states: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    newest: tuple[tuple[int, Segment], ...] = ()

    def with_batches(self, change: int, states: Mapping[str, str], added: Sequence[tuple[int, Segment]]) -> "View":
        """A newer view: with other states, and with the segments of batches that it did not know."""
        segments = list(self.segments)
        if added:
            segments.append(merged([segment for _, segment in added]))
        while len(segments) > 1 and segments[-2].weight <= 2 * segments[-1].weight:
            segments[-2:] = [merged(segments[-2:])]
        kept = [one if one in self.segments else self._aside(one) for one in segments]
        newest = (*self.newest, *added)[-REMEMBERED:]
        return replace(self, change=change, states=states, segments=tuple(kept), newest=newest)

    def since(self, change: int) -> "View | None":
        """Only what came after an earlier view; None when that can't be told any more."""
        if self.newest and self.newest[0][0] > change and len(self.newest) == REMEMBERED:
            return None
        later = tuple(segment for at, segment in self.newest if at > change)
        return replace(self, segments=(merged(later),) if later else (), newest=())

    def has(self, ids: Words) -> Mask:
        """Which row ids (both halves) accepted batches have."""
        found = np.zeros(len(ids), np.bool_)
        for segment, alive in zip(self.segments, self._alive, strict=True):
            asked, places = matching(segment["digests"], ids[:, 0])
            same = segment["digests_low"][places] == ids[asked, 1]
            same &= alive[segment["digest_sources"][places]]
            found[asked[same]] = True
        return found

    def keys(self, keys: Words) -> Contacts:
        """Clusters of split keys (both halves of their digests)."""
        found = []
        for segment, alive in zip(self.segments, self._alive, strict=True):
            asked, places = self._same_keys(segment, keys)
            live = alive[segment["key_sources"][places]]
            found.append(Contacts(asked, segment["key_clusters"][places], segment["key_sides"][places], live))
        return Contacts.of(found)

    def labels(self, keys: Words) -> tuple[Places, Array]:
        """Labels that accepted rows with these keys have: place of the key, hash of the label."""
        asks, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
        for segment, alive in zip(self.segments, self._alive, strict=True):
            asked, places = self._same_keys(segment, keys)
            kept = alive[segment["key_sources"][places]] & (segment["key_labels"][places] != NO_LABEL)
            asks.append(asked[kept])
            labels.append(segment["key_labels"][places[kept]])
        return np.concatenate(asks), np.concatenate(labels)

    def groups(self, groups: Words) -> Contacts:
        """Clusters of group keys, by their hashes."""
        found = []
        for segment in self.segments:
            asked, places = matching(segment["groups"], groups)
            live = np.ones(len(places), np.bool_)
            found.append(Contacts(asked, segment["group_clusters"][places], segment["group_sides"][places], live))
        return Contacts.of(found)

    def near(self, entries: Words) -> list[Near]:
        """Earlier sets that share a band with sets whose bands are `entries`."""
        hashes = unique(entries >> HALF) if self.segments else entries
        found = []
        for segment, alive in zip(self.segments, self._alive, strict=True):
            bands = segment["bands"]
            starts = np.searchsorted(bands, hashes << HALF, "left")
            ends = np.searchsorted(bands, (hashes << HALF) | LOW, "right")
            met = bands[spread(starts, ends - starts)]
            numbers, renumbered = np.unique((met & LOW).astype(np.int64), return_inverse=True)
            if len(numbers):
                own = np.asarray((met & ~LOW) | renumbered.astype(np.uint64), np.uint64)
                columns = (segment["set_clusters"][numbers], segment["set_sides"][numbers])
                found.append(Near(segment.sets.take(numbers), own, *columns, alive[segment["set_sources"][numbers]]))
        return found

    def canonical(self, clusters: Words) -> Words:
        """Of each cluster the one that stands for all that were found to be one with it."""
        ours, theirs = self._links
        found = clusters
        while len(ours):
            at = np.minimum(np.searchsorted(ours, found), len(ours) - 1)
            linked = ours[at] == found
            if not linked.any():
                break
            found = np.where(linked, theirs[at], found)
        return found

    @staticmethod
    def _same_keys(segment: Segment, keys: Words) -> tuple[Places, Places]:
        asked, places = matching(segment["keys"], keys[:, 0])
        same = segment["keys_low"][places] == keys[asked, 1]
        return asked[same], places[same]

    @cached_property
    def _alive(self) -> list[Mask]:
        return [np.array([self.states.get(one) == ACCEPTED for one in s.sources], np.bool_) for s in self.segments]

    @cached_property
    def _links(self) -> tuple[Words, Words]:
        """Each linked cluster once; a link always leads to a smaller number, so that following them ends."""
        pairs = np.concatenate([np.zeros(0, np.uint64), *(one["links"] for one in self.segments)]).reshape(-1, 2)
        ours, first = np.unique(pairs[:, 0], return_index=True)
        return ours, pairs[first, 1]

    def _aside(self, segment: Segment) -> Segment:
        """A heavy segment in a file of its own, which vanishes with the process."""
        if segment.weight < HEAVY or segment.in_file:
            return segment
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / new_id("index")
        try:
            with path.open("wb") as file:
                write_segment(file, segment)
            return read_segment(path)
        finally:
            path.unlink(missing_ok=True)


def state_key(batch: str, digest: str) -> str:
    """A source: one state of one batch's rows; a batch that is rewritten becomes another source."""
    return f"{batch}:{digest[:16]}"
