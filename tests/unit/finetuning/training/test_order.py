from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.finetuning.training.examples.order import batches_per_epoch, epoch_batches

LENGTHS = [5 + (index * 37) % 90 for index in range(1000)]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=300), st.integers(1, 33), st.integers(0, 5))
def test_every_row_comes_once_an_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    batches = epoch_batches(lengths, batch_size, 0, epoch, "digest")
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) <= batch_size for batch in batches)


@given(st.integers(1, 3000), st.integers(1, 40))
def test_batches_can_be_counted_without_making_them(rows: int, batch_size: int) -> None:
    assert len(epoch_batches([1] * rows, batch_size, 0, 0, "digest")) == batches_per_epoch(rows, batch_size)


def test_order_depends_on_seed_epoch_and_dataset_and_nothing_else() -> None:
    first = epoch_batches(LENGTHS, 16, 1, 0, "digest")
    assert first == epoch_batches(LENGTHS, 16, 1, 0, "digest")
    assert first != epoch_batches(LENGTHS, 16, 2, 0, "digest")
    assert first != epoch_batches(LENGTHS, 16, 1, 1, "digest")
    assert first != epoch_batches(LENGTHS, 16, 1, 0, "other")


def test_rows_of_like_length_share_a_batch() -> None:
    assert _padded(epoch_batches(LENGTHS, 16, 0, 0, "digest")) < 1.1 * sum(LENGTHS)


def test_long_batches_are_spread_over_the_epoch() -> None:
    batches = epoch_batches(LENGTHS, 16, 0, 0, "digest")
    half = len(batches) // 2
    ratio = _padded(batches[:half]) / _padded(batches[half:])
    assert 0.8 < ratio < 1.25


def test_order_is_the_one_that_earlier_versions_gave() -> None:
    assert epoch_batches([3, 1, 2, 5, 4], 2, 0, 0, "digest") == [[0, 2], [4, 1], [3]]


def _padded(batches: Sequence[Sequence[int]]) -> int:
    return sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)
