"""Checking a dataset version against its Merkle root, and proving that a row stands in it."""

from dataclasses import dataclass

from shared.client.datasets import LocalVersion
from shared.errors import DataCorrupted, NotFound
from shared.storage import merkle
from shared.storage.datasets import read_sides


@dataclass(frozen=True)
class Proven:
    """`merkle_root` is that of the files on this machine; `proof` that of the row which was asked for."""

    merkle_root: str
    rows: int
    proof: merkle.Proof | None


def prove_version(local: LocalVersion, row: str = "") -> Proven:
    """Reads every row; `row` is an id, or its first characters.

    Raises DataCorrupted when the files do not have the manifest's root, NotFound when the version lacks the row.
    """
    parts = [part for part in local.manifest.parts if part.rows]
    rows, place = [], None
    for number, part in enumerate(parts):
        sides = list(read_sides(local.files[part.digest], part.test))
        if row and place is None:
            index = next((index for index, (row_id, _) in enumerate(sides) if row_id.startswith(row)), None)
            place = None if index is None else (number, index, sides)
        rows.append((merkle.rows_root(sides), len(sides)))
    roots = [root for root, _ in rows]
    root = merkle.join(roots)
    if local.manifest.merkle_root and root != local.manifest.merkle_root:
        raise DataCorrupted(
            f"the rows have the Merkle root {root[:12]}…, the manifest says {local.manifest.merkle_root[:12]}…"
        )
    if row and place is None:
        raise NotFound(f"version {local.manifest.version} has no row {row!r}", row=row)
    proof = merkle.prove(place[2], place[1], roots, place[0]) if place else None
    return Proven(root, sum(count for _, count in rows), proof)
