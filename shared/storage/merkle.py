"""Merkle trees over the rows of dataset versions (the hash tree of RFC 6962, section 2.1).

A leaf is SHA-256 over 0x00, the row's id (32 bytes) and its side; an inner node over 0x01 and its two children. The
tree of a version stands on the roots of its parts, so one more part costs only its own rows, and a proof leads from a
row through its part to the version without a seam.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice

from shared.errors import DataCorrupted

EMPTY = sha256().digest()
"""Root of a tree without leaves."""
SIDES = {"train": b"\0", "validation": b"\1", "test": b"\2"}
CHUNK_LEAVES = 4096
"""A power of two, so that the root of a whole chunk is a node of the tree."""

Row = tuple[str, str]
"""Row id in hex, and side."""


@dataclass(frozen=True)
class Proof:
    """That a row stands in a dataset version: the siblings on the way from its leaf to the root, lowest first."""

    row_id: str
    split: str
    siblings: tuple[tuple[bool, str], ...]
    """Whether the sibling is the left one, and its hash in hex."""


def leaf(row_id: str, split: str) -> bytes:
    """Raises DataCorrupted for what is no row id or no side."""
    try:
        return sha256(b"\0" + bytes.fromhex(row_id) + SIDES[split]).digest()
    except (ValueError, KeyError):
        raise DataCorrupted(f"a row has the id {row_id[:80]!r} and the side {split[:20]!r}") from None


def root(leaves: Iterable[bytes]) -> bytes:
    """In memory of a few thousand leaves, however many there are."""
    return _top(list(_chunk_roots(leaves)))


def rows_root(rows: Iterable[Row]) -> str:
    """Of a part's rows in stored order, in hex."""
    return root(leaf(row_id, split) for row_id, split in rows).hex()


def join(roots: Sequence[str]) -> str:
    """The root of a version over the roots of its parts, all in hex."""
    return _top([bytes.fromhex(part) for part in roots]).hex()


def prove(rows: Sequence[Row], index: int, roots: Sequence[str], part: int) -> Proof:
    """The proof of one row: number `index` of the part that is number `part` of the version."""
    inside = _path([leaf(row_id, split) for row_id, split in rows], index)
    outside = _path([bytes.fromhex(one) for one in roots], part)
    row_id, split = rows[index]
    return Proof(row_id, split, tuple((left, one.hex()) for left, one in chain(inside, outside)))


def check(proof: Proof, merkle_root: str) -> bool:
    """Whether the row stands in the version that has this root."""
    node = leaf(proof.row_id, proof.split)
    for left, sibling in proof.siblings:
        other = bytes.fromhex(sibling)
        node = _node(other, node) if left else _node(node, other)
    return node.hex() == merkle_root


def _chunk_roots(leaves: Iterable[bytes]) -> Iterator[bytes]:
    rest = iter(leaves)
    while chunk := list(islice(rest, CHUNK_LEAVES)):
        yield _top(chunk)


def _top(level: list[bytes]) -> bytes:
    """Pairs from the left, an odd one moves up as it is: the same tree as splitting at the largest power of two."""
    if not level:
        return EMPTY
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _above(level: Sequence[bytes]) -> list[bytes]:
    above = [sha256(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    return above + [level[-1]] * (len(level) % 2)


def _path(level: list[bytes], index: int) -> Iterator[tuple[bool, bytes]]:
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            yield beside < index, level[beside]
        level, index = _above(level), index // 2


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()
