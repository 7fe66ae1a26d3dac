from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DataCorrupted
from shared.storage import merkle

IDS = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
ROWS = st.tuples(IDS, st.sampled_from(sorted(merkle.SIDES)))
PARTS = st.lists(st.lists(ROWS, min_size=1, max_size=40), min_size=1, max_size=9)


def by_the_book(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1: split at the largest power of two that is smaller."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + by_the_book(leaves[:split]) + by_the_book(leaves[split:])).digest()


@given(st.integers(0, 300))
def test_the_tree_is_that_of_rfc_6962(count: int) -> None:
    leaves = [sha256(bytes([0]) + number.to_bytes(4)).digest() for number in range(count)]
    assert merkle.root(leaves) == by_the_book(leaves)


def test_chunks_do_not_show_in_the_tree() -> None:
    leaves = [sha256(number.to_bytes(4)).digest() for number in range(2 * merkle.CHUNK_LEAVES + 3)]
    assert merkle.root(iter(leaves)) == by_the_book(leaves)


@given(PARTS, st.data())
def test_every_row_is_proven_and_nothing_else(parts: list[list[merkle.Row]], data: st.DataObject) -> None:
    roots = [merkle.rows_root(rows) for rows in parts]
    root = merkle.join(roots)
    part = data.draw(st.integers(0, len(parts) - 1))
    index = data.draw(st.integers(0, len(parts[part]) - 1))
    proof = merkle.prove(parts[part], index, roots, part)
    assert merkle.check(proof, root)
    assert (proof.row_id, proof.split) == parts[part][index]
    other_side = replace(proof, split="test" if proof.split == "train" else "train")
    assert not merkle.check(other_side, root)
    assert not merkle.check(replace(proof, row_id=sha256(proof.row_id.encode()).hexdigest()), root)
    for place in range(len(proof.siblings)):
        cut = replace(proof, siblings=proof.siblings[:place] + proof.siblings[place + 1 :])
        assert not merkle.check(cut, root)


@given(st.lists(ROWS, min_size=2, max_size=20, unique=True))
def test_the_order_of_rows_and_each_of_them_count(rows: list[merkle.Row]) -> None:
    root = merkle.rows_root(rows)
    assert merkle.rows_root(rows[1:]) != root
    assert merkle.rows_root(rows[::-1]) != root
    assert merkle.rows_root(rows) == root


def test_a_version_without_rows_has_the_root_of_nothing() -> None:
    assert merkle.join([]) == merkle.rows_root([]) == sha256().hexdigest()


@pytest.mark.parametrize("row", [("no hex", "train"), ("ab" * 32, "dev")])
def test_what_is_no_row_has_no_leaf(row: merkle.Row) -> None:
    with pytest.raises(DataCorrupted, match="a row has the id"):
        merkle.leaf(*row)
