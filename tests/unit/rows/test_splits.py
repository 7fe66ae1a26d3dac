from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from shared.pipelines.dividing import Splits
from shared.rows.splits import side

SHARES = Splits(validation=0.1, test=0.2)


def test_the_shares_come_out_by_chance() -> None:
    found = Counter(side("sentiment", f"row {number}", SHARES) for number in range(20_000))
    assert abs(found["test"] - 4000) < 250
    assert abs(found["validation"] - 2000) < 200


def test_the_side_is_the_first_64_bits_of_the_hash_as_a_fraction() -> None:
    for number in range(50):
        fraction = int.from_bytes(sha256(f"sentiment\0row {number}".encode()).digest()[:8]) / 2**64
        expected = "test" if fraction < 0.2 else "validation" if fraction < 0.3 else "train"
        assert side("sentiment", f"row {number}", SHARES) == expected


@given(st.text())
def test_a_row_in_test_stays_there_when_the_validation_share_changes(key: str) -> None:
    before, after = side("a", key, SHARES), side("a", key, Splits(validation=0.5, test=0.2))
    assert (before == "test") == (after == "test")


def test_pipelines_split_independently() -> None:
    both = [(side("a", str(number), SHARES), side("b", str(number), SHARES)) for number in range(500)]
    assert any(first != second for first, second in both)
