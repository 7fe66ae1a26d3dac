"""What becomes of the rows of a batch: copies dropped, clusters found, sides given, and what can't come in refused.

Nodes are the distinct split keys of a batch. They are tied by equal or close shingle sets and by groups, to each other
and to the clusters of earlier rows. A component of what is tied is a cluster and has one side: that of the earlier
cluster in it, or else of its founder, the node whose key has the smallest second half of its digest. (The first half
decides the side of a row that is like no other; the smallest of those would favour test.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.ingestion.clusters.bridging import Refusal
from services.ingestion.clusters.conflicts import Conflicts, label_conflicts
from services.ingestion.clusters.graph import Graph, Near, Ties
from services.ingestion.clusters.rows import NO_SIDE, Nodes, Outcome, Room, Rows, exact_copies
from services.ingestion.clusters.sides import sides_of
from services.ingestion.index.segment import take_bands
from services.ingestion.index.view import Contacts, View
from services.ingestion.near.bands import banded
from services.ingestion.near.components import connected
from services.ingestion.near.hashing import Array, Mask, Places, Words, unique
from services.ingestion.near.joining import Pairs, close_pairs
from services.ingestion.near.shingles import EMPTY, Sets, joined
from shared.pipelines.data import Data


@dataclass(frozen=True, eq=False)
class Likeness:
    """The distinct shingle sets of a batch and what they are close to: `of_node` names the set of each node; sets from
    `count` on are earlier ones, with their clusters, sides and whether they count; `entries` are the bands of all."""

    of_node: Places
    count: int
    sets: Sets
    entries: Words
    earlier: Contacts
    threshold: float


@dataclass(frozen=True, eq=False)
class Resolved:
    """By row: `outcomes`, and of accepted ones `clusters` and `sides`. `near` tells rows with a near copy in the
    dataset (or dropped for it), `conflicting` accepted ones whose input has another label elsewhere; `links` are pairs
    of earlier clusters that are now one; `refusals` say by row what stood against it. `sets` are those to remember,
    with their bands, and a row of each."""

    outcomes: Array
    clusters: Words
    sides: Array
    near: Mask
    conflicting: Mask
    links: Words
    refusals: Mapping[int, Refusal] = field(default_factory=dict)
    sets: Sets = EMPTY
    entries: Words = field(default_factory=lambda: np.zeros(0, np.uint64))
    set_rows: Places = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def accepted(self) -> Mask:
        return np.asarray(self.outcomes == Outcome.ACCEPTED, np.bool_)


def resolve(rows: Rows, view: View, data: Data, room: Room | None = None) -> Resolved:
    """Decides about every row, given what the index holds. A pure function of both, and of the rows' order only where
    copies, conflicts and caps say that the earlier one stays."""
    outcomes = np.where(exact_copies(rows.ids) | view.has(rows.ids), Outcome.DUPLICATE, Outcome.ACCEPTED)
    outcomes = outcomes.astype(np.uint8)
    kept = np.flatnonzero(outcomes == Outcome.ACCEPTED)
    if room is not None:
        outcomes[kept[room.rows :]] = room.otherwise
        kept = kept[: room.rows]
    nodes = Nodes.among(rows, kept)
    conflicts = label_conflicts(rows.labels[kept], nodes, rows, view)
    if data.conflicts == "reject" and conflicts.later.any():
        outcomes[kept[conflicts.later]] = Outcome.CONFLICTING_LABEL
        kept = kept[~conflicts.later]
        nodes = Nodes.among(rows, kept)
        conflicts = Conflicts(np.zeros(len(kept), np.bool_), np.zeros(len(kept), np.bool_))
    return _Resolving(rows, view, data, nodes, kept, outcomes).run(conflicts)


def touches(rows: Rows, found: Resolved, later: View, data: Data) -> bool:
    """Whether what came to the index later has to do with rows that were accepted without knowing of it."""
    kept = np.flatnonzero(found.accepted)
    keys, groups = rows.keys[kept], rows.groups[kept]
    if later.has(rows.ids[kept]).any() or len(later.keys(keys).asked):
        return True
    if len(later.groups(unique(groups[groups != 0])).asked):
        return True
    count = len(found.sets)
    for near in later.near(found.entries):
        entries = np.sort(np.concatenate([found.entries, near.entries + np.uint64(count)]))
        ends = np.array([count])

        def across(first: Places, second: Places, ends: Places = ends) -> Mask:
            return np.asarray((first < ends) & (second >= ends), np.bool_)

        sets = joined([found.sets, near.sets])
        if len(close_pairs(entries, sets, data.near_duplicates.threshold, across, spanning=True).first):
            return True
    return False


class _Resolving:
    def __init__(self, rows: Rows, view: View, data: Data, nodes: Nodes, kept: Places, outcomes: Array) -> None:
        self._rows, self._view, self._data = rows, view, data
        self._nodes, self._kept, self._outcomes = nodes, kept, outcomes
        self._officials = _highest(rows.officials[kept], nodes)
        self._likeness = _likeness(rows, nodes, view, data.near_duplicates.threshold) if rows.sets else None
        self._alive = np.ones(len(nodes), np.bool_)
        self._near = np.zeros(len(nodes), np.bool_)
        self._refusals: dict[int, Refusal] = {}

    def run(self, conflicts: Conflicts) -> Resolved:
        if self._likeness:
            self._find_near_copies(self._likeness)
        graph = self._graph()
        while found := graph.bridges(self._nodes, self._officials):
            for node, refusal in found.items():
                self._refuse(node, refusal)
            graph = self._graph()
        return self._placed(graph, conflicts)

    def _find_near_copies(self, likeness: Likeness) -> None:
        """Which nodes have one, and with `keep: first` drops all but the first of each."""
        pairs = self._pairs(spanning=True)
        _, which, counts = np.unique(likeness.of_node, return_inverse=True, return_counts=True)
        touched = np.zeros(len(likeness.sets), np.bool_)
        touched[pairs.first] = touched[pairs.second] = True
        self._near = (counts[which] > 1) | touched[likeness.of_node]
        if self._data.near_duplicates.keep == "all":
            return
        roots = connected(len(likeness.sets), pairs.first, pairs.second)
        counting = np.zeros(len(roots), np.bool_)
        counting[roots[likeness.earlier.asked[likeness.earlier.live]]] = True
        root = roots[likeness.of_node]
        order = np.lexsort((self._nodes.first, root))
        first = np.zeros(len(order), np.bool_)
        first[order] = np.append(True, root[order[1:]] != root[order[:-1]])[: len(order)]
        dropped = ~first | counting[root]
        self._outcomes[self._kept[dropped[self._nodes.of_row]]] = Outcome.NEAR_COPY
        self._alive &= ~dropped
        self._near = dropped

    def _pairs(self, *, spanning: bool, among: Mask | None = None) -> Pairs:
        likeness = self._likeness
        assert likeness
        wanted = np.zeros(len(likeness.sets), np.bool_)
        wanted[likeness.of_node[self._alive]] = True
        wanted[likeness.count :] = True
        if among is not None:
            wanted[: likeness.count] &= among[: likeness.count]

        def may_count(first: Places, second: Places) -> Mask:
            return np.asarray(wanted[first] & wanted[second] & (first < likeness.count), np.bool_)

        return close_pairs(likeness.entries, likeness.sets, likeness.threshold, may_count, spanning=spanning)

    def _graph(self) -> Graph:
        alive = np.flatnonzero(self._alive)
        of_row = self._rows.groups[self._kept]
        rows = np.flatnonzero((of_row != 0) & (self._outcomes[self._kept] == Outcome.ACCEPTED))
        groups, which = np.unique(of_row[rows], return_inverse=True)
        by_key = self._view.keys(self._nodes.keys[alive])
        ties = Ties(
            nodes=len(self._nodes),
            alive=alive,
            by_key=by_key._replace(asked=alive[by_key.asked]),
            membership=(self._nodes.of_row[rows], which),
            by_group=self._view.groups(groups),
            near=Near(self._likeness, self._pairs) if self._likeness else None,
        )
        return Graph(ties, len(groups), self._view)

    def _refuse(self, node: int, refusal: Refusal) -> None:
        """Of a node that only its official split keeps out, rows that claim another one may stay."""
        rows = self._kept[self._nodes.of_row == node]
        refused = rows
        if refusal.outcome == Outcome.OFFICIAL_SPLIT_LEAKS:
            refused = rows[self._rows.officials[rows] == self._officials[node]]
        self._outcomes[refused] = refusal.outcome
        self._refusals |= dict.fromkeys(refused.tolist(), refusal)
        left = self._rows.officials[rows[self._outcomes[rows] == Outcome.ACCEPTED]].astype(np.int64)
        self._alive[node] = len(left) > 0
        self._officials[node] = max((one for one in left.tolist() if one != NO_SIDE), default=NO_SIDE)

    def _placed(self, graph: Graph, conflicts: Conflicts) -> Resolved:
        nodes, rows, kept = self._nodes, self._rows, self._kept
        times = np.full(len(nodes), np.nan)
        np.fmax.at(times, nodes.of_row, rows.times[kept])
        clusters, sides, links = graph.clusters(nodes, self._officials, times, self._decide)
        row_clusters, row_sides = np.zeros(len(rows), np.uint64), np.full(len(rows), NO_SIDE, np.uint8)
        row_clusters[kept], row_sides[kept] = clusters[nodes.of_row], sides[nodes.of_row]
        self._refuse_other_officials(row_sides)
        near, conflicting = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        near[kept], conflicting[kept] = self._near[nodes.of_row], conflicts.any
        accepted = self._outcomes == Outcome.ACCEPTED
        return Resolved(
            self._outcomes,
            row_clusters,
            row_sides,
            near & (accepted | (self._outcomes == Outcome.NEAR_COPY)),
            conflicting & accepted,
            links,
            self._refusals,
            *(self._remembered(self._likeness, accepted) if self._likeness else ()),
        )

    def _decide(self, clusters: Words, founders: Places, newest: Array) -> Array:
        labels = self._rows.labels[self._nodes.first[founders]]
        return sides_of(clusters, labels, newest, self._data.splits)

    def _refuse_other_officials(self, sides: Array) -> None:
        """Rows whose official split is not the side that their input has."""
        officials = self._rows.officials
        wrong = (officials != NO_SIDE) & (officials != sides) & (self._outcomes == Outcome.ACCEPTED)
        self._outcomes[wrong] = Outcome.OFFICIAL_SPLIT_LEAKS
        for row in np.flatnonzero(wrong).tolist():
            pair = tuple(sorted((int(officials[row]), int(sides[row]))))
            self._refusals[row] = Refusal(Outcome.OFFICIAL_SPLIT_LEAKS, pair)

    def _remembered(self, likeness: Likeness, accepted: Mask) -> tuple[Sets, Words, Places]:
        """Sets of accepted rows, their bands, and a row of each."""
        rows = np.flatnonzero(accepted[self._kept])
        of_row = likeness.of_node[self._nodes.of_row[rows]]
        numbers, first = np.unique(of_row, return_index=True)
        places = self._kept[rows[first]]
        if len(numbers) == len(likeness.sets):
            return likeness.sets, likeness.entries, places
        return likeness.sets.take(numbers), take_bands(likeness.entries, numbers, len(likeness.sets)), places


def _likeness(rows: Rows, nodes: Nodes, view: View, threshold: float) -> Likeness:
    assert rows.sets is not None
    assert view.bands is not None
    _, first, of_node = np.unique(rows.sets.digests()[nodes.first], return_index=True, return_inverse=True)
    distinct = rows.sets.take(nodes.first[first])
    entries, earlier, found = banded(distinct, view.bands), [], [distinct]
    met, count = [entries], len(distinct)
    for near in view.near(entries):
        numbers = np.arange(count, count + len(near.sets))
        earlier.append(Contacts(numbers, near.clusters, near.sides, near.live))
        met.append(near.entries + np.uint64(count))
        found.append(near.sets)
        count += len(near.sets)
    whole = np.sort(np.concatenate(met)) if len(met) > 1 else entries
    return Likeness(of_node, len(distinct), joined(found), whole, Contacts.of(earlier), threshold)


def _highest(officials: Array, nodes: Nodes) -> Array:
    """Of each node's rows: test before validation before train."""
    ranks = np.full(len(nodes), -1, np.int64)
    np.maximum.at(ranks, nodes.of_row, np.where(officials == NO_SIDE, -1, officials.astype(np.int64)))
    return np.where(ranks < 0, NO_SIDE, ranks).astype(np.uint8)
