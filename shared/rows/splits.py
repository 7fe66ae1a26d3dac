"""Which side of the split a row is on: a pure function of its input, or of the cluster it belongs to, so that it
never changes sides."""

from hashlib import sha256

from shared.pipelines.dividing import Splits
from shared.rows.base import SEPARATOR

SPLITS = ("train", "validation", "test")


def side(pipeline: str, split_key: str, shares: Splits) -> str:
    """`train`, `validation` or `test`, for a row that is like no other.

    The first 64 bits of SHA-256 over the pipeline's name and the key, as a fraction of 1: below the test
    share it is test, below test + validation it is validation.
    """
    digest = sha256(f"{pipeline}{SEPARATOR}{split_key}".encode()).digest()
    fraction = int.from_bytes(digest[:8]) / 2**64
    if fraction < shares.test:
        return "test"
    return "validation" if fraction < shares.test + shares.validation else "train"
