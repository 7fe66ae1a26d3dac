"""Which rows may not come in because they would tie together what stands on different sides.

Rows are let in one after another, in an order that only their content decides: first those that an official split has
on test, then on validation, then on train, then the others; among them by the digests of their keys. A row that touches
two sides, through earlier rows, rows let in before it or its own official side, is refused. So what stays is free of
pairs across sides, whatever the order of the batch was.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.ingestion.clusters.rows import NO_SIDE, Outcome
from shared.rows.splits import SPLITS

MOST_TOLD = 4
"""Clusters that a refusal names."""


@dataclass(frozen=True)
class Candidate:
    """A new node: what it touches (names of its shingle set, groups and earlier clusters), near sets, official side."""

    node: int
    order: int
    official: int
    touches: tuple[str, ...]
    near: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a node may not come in: the two sides, and earlier clusters on them, in words."""

    outcome: Outcome
    sides: tuple[int, ...]
    near: tuple[str, ...] = ()


def refused(candidates: Iterable[Candidate], sides: Mapping[str, int]) -> dict[int, Refusal]:
    """Nodes to refuse. `sides` has the sides of earlier clusters by name."""
    ties = _Ties(sides)
    found: dict[int, Refusal] = {}
    for one in sorted(candidates, key=lambda one: (-_rank(one.official), one.order)):
        touched = [*one.touches, *(name for name in one.near if name in ties)]
        met = ties.sides_of(touched)
        wanted = met if one.official == NO_SIDE else met | {one.official}
        if len(wanted) > 1:
            official = one.official != NO_SIDE and len(met) == 1
            outcome = Outcome.OFFICIAL_SPLIT_LEAKS if official else Outcome.BRIDGES_SPLITS
            found[one.node] = Refusal(outcome, tuple(sorted(wanted))[:2], _told(touched, sides))
        else:
            ties.tie(touched, next(iter(wanted), NO_SIDE))
    return found


class _Ties:
    """Disjoint sets of names, each with a side or none yet."""

    def __init__(self, sides: Mapping[str, int]) -> None:
        self._above: dict[str, str] = {name: name for name in sides}
        self._sides = dict(sides)

    def __contains__(self, name: str) -> bool:
        return name in self._above

    def sides_of(self, names: Sequence[str]) -> set[int]:
        known = (self._sides.get(self._root(name), NO_SIDE) for name in names if name in self._above)
        return {side for side in known if side != NO_SIDE}

    def tie(self, names: Sequence[str], side: int) -> None:
        for name in names:
            self._above.setdefault(name, name)
        root = self._root(names[0]) if names else ""
        for name in names:
            self._above[self._root(name)] = root
        self._sides[root] = side

    def _root(self, name: str) -> str:
        while self._above[name] != name:
            self._above[name] = name = self._above[self._above[name]]
        return name


def _rank(official: int) -> int:
    return -1 if official == NO_SIDE else official


def _told(touched: Sequence[str], sides: Mapping[str, int]) -> tuple[str, ...]:
    clusters = sorted({name for name in touched if name in sides})
    return tuple(f"cluster {int(name[1:]):016x} ({SPLITS[sides[name]]})" for name in clusters[:MOST_TOLD])
