"""The order of rows in an epoch: a pure function of seed, epoch and dataset digest.

Rows of like length share a batch. As in transformers' length-grouped sampler, shuffled rows are cut into
mega-batches, each sorted by length; then the batches are shuffled too. Shuffling sorts by a keyed hash, so that the
order depends on no library's generator.
"""

from collections.abc import Sequence
from hashlib import blake2b

MEGA = 50
"""Batches sorted together at most."""


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int, dataset_digest: str
) -> list[list[int]]:
    """Indices of the rows, batch by batch; every row once, only the last of a mega-batch may be short."""
    key = f"{seed}/{epoch}/{dataset_digest}"
    rows = _shuffled(len(lengths), f"{key}/rows")
    mega = batch_size * max(1, min(MEGA, len(rows) // (batch_size * 4)))
    batches = []
    for start in range(0, len(rows), mega):
        alike = sorted(rows[start : start + mega], key=lambda row: -lengths[row])
        batches += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    return [batches[index] for index in _shuffled(len(batches), f"{key}/batches")]


def batches_per_epoch(rows: int, batch_size: int) -> int:
    """How many batches `epoch_batches` gives, for any lengths."""
    return -(-rows // batch_size)


def _shuffled(count: int, key: str) -> list[int]:
    def rank(index: int) -> bytes:
        return blake2b(f"{key}/{index}".encode(), digest_size=16).digest()

    return sorted(range(count), key=rank)
