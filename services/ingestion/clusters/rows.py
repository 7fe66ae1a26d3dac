"""The rows of a batch as columns, and what is decided about each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.ingestion.near.hashing import Array, Mask, Places, Words
from services.ingestion.near.shingles import Sets, joined

NO_SIDE = 255


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows in the order they came: ids and digests of split keys (both halves of 16 bytes each, shape (rows, 2)),
    hashes of labels and groups (0 for none), the official side (NO_SIDE for none), seconds (NaN for none), and the
    shingles of the keys where near copies are looked for."""

    ids: Words
    keys: Words
    labels: Array
    groups: Words
    officials: Array
    times: npt.NDArray[np.float64]
    sets: Sets | None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, parts: Iterable["Rows"], *, shingled: bool) -> "Rows":
        """Several as one."""
        chunks, pairs = list(parts), np.zeros((0, 2), np.uint64)
        empty: list[Array] = [np.zeros(0, kind) for kind in (np.uint32, np.uint64, np.uint8, np.float64)]
        return cls(
            np.concatenate([pairs, *(chunk.ids for chunk in chunks)]),
            np.concatenate([pairs, *(chunk.keys for chunk in chunks)]),
            np.concatenate([empty[0], *(chunk.labels for chunk in chunks)]),
            np.concatenate([empty[1], *(chunk.groups for chunk in chunks)]),
            np.concatenate([empty[2], *(chunk.officials for chunk in chunks)]),
            np.concatenate([empty[3], *(chunk.times for chunk in chunks)]),
            joined(chunk.sets for chunk in chunks if chunk.sets is not None) if shingled else None,
        )


class Outcome(IntEnum):
    """What becomes of a row."""

    ACCEPTED = 0
    DUPLICATE = 1
    NEAR_COPY = 2
    CONFLICTING_LABEL = 3
    BRIDGES_SPLITS = 4
    OFFICIAL_SPLIT_LEAKS = 5
    SOURCE_CAP = 6
    BATCH_CAP = 7


REFUSED = tuple(outcome for outcome in Outcome if outcome >= Outcome.CONFLICTING_LABEL)


class Room(NamedTuple):
    """At most so many rows may come in, and what is said of the others."""

    rows: int
    otherwise: Outcome


@dataclass(frozen=True, eq=False)
class Nodes:
    """Distinct split keys among some rows: the digests, sorted; of each row its node, of each node its first row."""

    keys: Words
    of_row: Places
    first: Places

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def among(cls, rows: Rows, kept: Places) -> "Nodes":
        """`kept` are the rows, rising; `of_row` follows them."""
        keys = rows.keys[kept]
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        begins = np.append(np.ones(min(1, len(order)), np.bool_), ~same_pairs(keys, order[:-1], order[1:]))
        of_row = np.empty(len(kept), np.int64)
        of_row[order] = np.cumsum(begins) - 1
        first = order[begins]
        return cls(keys[first], of_row, kept[first])


def exact_copies(ids: Words) -> Mask:
    """Rows that came before in the same list."""
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    copies = np.zeros(len(ids), np.bool_)
    copies[order[1:][same_pairs(ids, order[:-1], order[1:])]] = True
    return copies


def same_pairs(values: Words, first: Places, second: Places) -> Mask:
    """Whether rows of a table of two columns are equal."""
    return np.asarray((values[first] == values[second]).all(axis=1), np.bool_)
