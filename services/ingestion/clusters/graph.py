"""Ties between the nodes of a batch, and what they make of it: clusters with one side each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.ingestion.clusters.bridging import Candidate, Refusal, refused
from services.ingestion.clusters.rows import NO_SIDE, Nodes
from services.ingestion.index.view import Contacts, View
from services.ingestion.near.components import connected
from services.ingestion.near.hashing import Array, Places, Words
from services.ingestion.near.joining import Pairs

if TYPE_CHECKING:
    from services.ingestion.clusters.resolving import Likeness

FindPairs = Callable[..., Pairs]
Decide = Callable[[Words, Places, Array], Array]
NOBODY = np.iinfo(np.uint64).max
"""No founder's name: it would be a hash of all ones."""


@dataclass(frozen=True, eq=False)
class Near:
    """The shingle sets of the nodes, and how to find the pairs among them and earlier ones that are close."""

    likeness: "Likeness"
    pairs: FindPairs


@dataclass(frozen=True, eq=False)
class Ties:
    """What ties nodes together, directly: groups (of which node which), what keys and groups have to do with earlier
    clusters, and shingle sets where they count."""

    nodes: int
    alive: Places
    by_key: Contacts
    membership: tuple[Places, Places]
    by_group: Contacts
    near: Near | None

    @property
    def sets(self) -> int:
        return len(self.near.likeness.sets) if self.near else 0


class Graph:
    """Nodes, sets, groups and earlier clusters as numbers from 0 on, in this order; and what is connected."""

    def __init__(self, ties: Ties, groups: int, view: View) -> None:
        self._ties = ties
        self._first_group = ties.nodes + ties.sets
        earlier = ties.near.likeness.earlier if ties.near else Contacts.of([])
        contacts = Contacts.of([ties.by_key, ties.by_group, earlier])
        self._canonical = view.canonical(contacts.clusters)
        self._old, first, which = np.unique(self._canonical, return_index=True, return_inverse=True)
        self._old_sides = contacts.sides[first]
        self._first_old = self._first_group + groups
        shifts = np.repeat(
            [0, self._first_group, ties.nodes], [len(ties.by_key.asked), len(ties.by_group.asked), len(earlier.asked)]
        )
        edges = [(contacts.asked + shifts, self._first_old + which)]
        edges.append((ties.membership[0], self._first_group + ties.membership[1]))
        if ties.near:
            pairs = ties.near.pairs(spanning=True)
            edges.append((ties.alive, ties.nodes + ties.near.likeness.of_node[ties.alive]))
            edges.append((ties.nodes + pairs.first, ties.nodes + pairs.second))
        ours, theirs = (np.concatenate(ends) for ends in zip(*edges, strict=True))
        self._roots = connected(self._first_old + len(self._old), ours, theirs)

    def bridges(self, nodes: Nodes, officials: Array) -> dict[int, Refusal]:
        """Nodes to refuse so that nothing touches two sides; empty when nothing does."""
        low, high = np.full(len(self._roots), NO_SIDE, np.int64), np.full(len(self._roots), -1, np.int64)
        alive = self._ties.alive
        said = alive[officials[alive] != NO_SIDE]
        for numbers, sides in ((self._old_numbers, self._old_sides), (said, officials[said])):
            np.minimum.at(low, self._roots[numbers], sides.astype(np.int64))
            np.maximum.at(high, self._roots[numbers], sides.astype(np.int64))
        torn = (high > low)[self._roots[alive]]
        if not torn.any():
            return {}
        sides_by_name = {f"c{name}": int(side) for name, side in zip(self._old, self._old_sides, strict=True)}
        return refused(self._candidates(alive[torn], nodes, officials), sides_by_name)

    def clusters(self, nodes: Nodes, officials: Array, times: Array, decide: Decide) -> tuple[Words, Array, Words]:
        """Clusters and sides of the nodes (of none, 0 and NO_SIDE), and links between earlier clusters: pairs, the
        second of which stands for both, end to end. `decide` gives sides to new clusters: it is told their names,
        founders and newest times."""
        alive = self._ties.alive
        roots, component = np.unique(self._roots[alive], return_inverse=True)
        names, links = self._earlier_names(roots)
        sides = np.full(len(roots), NO_SIDE, np.uint8)
        known = names != NOBODY
        sides[known] = self._old_sides[np.searchsorted(self._old, names[known])]
        order = np.lexsort((nodes.keys[alive, 1], component))
        founders = alive[order[np.searchsorted(component[order], np.arange(len(roots)))]]
        names[~known] = nodes.keys[founders[~known], 0]
        newest, official = np.full(len(roots), -np.inf), np.full(len(roots), -1, np.int64)
        np.maximum.at(newest, component, np.where(np.isnan(times[alive]), -np.inf, times[alive]))
        said = np.flatnonzero(officials[alive] != NO_SIDE)
        np.maximum.at(official, component[said], officials[alive[said]].astype(np.int64))
        sides[~known & (official >= 0)] = official[~known & (official >= 0)]
        new = sides == NO_SIDE
        sides[new] = decide(names[new], founders[new], newest[new])
        found = np.zeros(len(nodes), np.uint64), np.full(len(nodes), NO_SIDE, np.uint8)
        found[0][alive], found[1][alive] = names[component], sides[component]
        return found[0], found[1], links

    @property
    def _old_numbers(self) -> Places:
        return np.arange(self._first_old, len(self._roots))

    def _earlier_names(self, roots: Places) -> tuple[Words, Words]:
        """Of each component the smallest of its earlier clusters (NOBODY: it has none), and links from the others."""
        names = np.full(len(roots), NOBODY, np.uint64)
        theirs = self._roots[self._old_numbers]
        at = np.minimum(np.searchsorted(roots, theirs), max(0, len(roots) - 1))
        met = np.flatnonzero(roots[at] == theirs) if len(roots) else np.zeros(0, np.int64)
        np.minimum.at(names, at[met], self._old[met])
        others = met[names[at[met]] != self._old[met]]
        return names, np.stack([self._old[others], names[at[others]]], axis=1).ravel()

    def _candidates(self, torn: Places, nodes: Nodes, officials: Array) -> list[Candidate]:
        touched: dict[int, list[str]] = {node: [] for node in torn.tolist()}
        near: dict[int, list[str]] = {node: [] for node in touched}
        old = self._old_names(self._ties.by_key, 0)
        for node, name in old:
            if node in touched:
                touched[node].append(name)
        self._touch_groups(touched)
        if self._ties.near:
            self._touch_sets(self._ties.near, torn, touched, near)
        orders = nodes.keys[:, 1]
        return [
            Candidate(node, int(orders[node]), int(officials[node]), tuple(names), tuple(near[node]))
            for node, names in touched.items()
        ]

    def _touch_groups(self, touched: dict[int, list[str]]) -> None:
        of_group: dict[int, list[str]] = {}
        for group, name in self._old_names(self._ties.by_group, len(self._ties.by_key.asked)):
            of_group.setdefault(group, []).append(name)
        for node, group in zip(*(ends.tolist() for ends in self._ties.membership), strict=True):
            if node in touched:
                touched[node] += [f"g{group}", *of_group.get(group, [])]

    def _touch_sets(
        self, near: Near, torn: Places, touched: dict[int, list[str]], others: dict[int, list[str]]
    ) -> None:
        """Every pair counts here, because a refused row must not be what connected two others."""
        likeness = near.likeness
        among = np.zeros(len(likeness.sets), np.bool_)
        among[likeness.of_node[torn]] = True
        pairs = near.pairs(spanning=False, among=among)
        start = len(self._ties.by_key.asked) + len(self._ties.by_group.asked)
        names = dict(self._old_names(likeness.earlier, start))
        by_set: dict[int, list[int]] = {}
        for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
            by_set.setdefault(first, []).append(second)
            by_set.setdefault(second, []).append(first)
        for node in touched:
            own = int(likeness.of_node[node])
            touched[node].append(f"s{own}")
            for other in by_set.get(own, []):
                if other in names:
                    touched[node].append(names[other])
                else:
                    others[node].append(f"s{other}")

    def _old_names(self, contacts: Contacts, start: int) -> list[tuple[int, str]]:
        """What was asked for, and the earlier cluster it belongs to; the contacts are those from `start` on."""
        clusters = self._canonical[start : start + len(contacts.asked)]
        return [(asked, f"c{name}") for asked, name in zip(contacts.asked.tolist(), clusters.tolist(), strict=True)]
