"""Numbers that look random and are the same on every machine, a column at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Small = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

HALF = np.uint64(32)
LOW = np.uint64(0xFFFFFFFF)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(values: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection whose every output bit hangs on all inputs."""
    found = (values ^ (values >> _SHIFTS[0])) * _FACTORS[0]
    found = (found ^ (found >> _SHIFTS[1])) * _FACTORS[1]
    return np.asarray(found ^ (found >> _SHIFTS[2]), np.uint64)


def pair_of(high: Array, low: Array) -> Words:
    """Two numbers of 32 bits in one of 64, so that one sort orders by both."""
    return np.asarray((high.astype(np.uint64) << HALF) | low.astype(np.uint64), np.uint64)


def parts_of(pairs: Words) -> tuple[Places, Places]:
    """What `pair_of` put together."""
    return (pairs >> HALF).astype(np.int64), (pairs & LOW).astype(np.int64)


def unique(values: Array) -> Array:
    """The distinct values, sorted. (numpy's own way, a table of hashes, is many times slower for millions.)"""
    found = np.sort(values)
    new = np.append(np.ones(min(1, len(found)), np.bool_), found[1:] != found[:-1])
    return np.asarray(found[new], values.dtype)
