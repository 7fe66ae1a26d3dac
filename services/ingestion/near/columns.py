"""Columns of numbers in one file, written once and read through the page cache.

A line of JSON says what the columns are and where; they lie behind it as they are in memory, each at a multiple of 64
bytes, little-endian. A checksum over them tells a damaged file.
"""

import json
import mmap
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple
from zlib import crc32

import numpy as np

from services.ingestion.near.hashing import Array
from shared.errors import DataCorrupted

ALIGNED = 64
HEAD_BYTES = 1 << 24
TYPES = frozenset({"|u1", "<u4", "<u8", "<i8"})

assert sys.byteorder == "little"


class Columns(NamedTuple):
    """What a file says about itself, and its columns by name."""

    about: dict[str, Any]
    arrays: dict[str, Array]


def write_columns(file: IO[bytes], about: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Writes from where the file stands, which must be its beginning."""
    places, at, checksum = {}, 0, 0
    for name, array in arrays.items():
        places[name] = {"type": array.dtype.str, "length": len(array), "at": at}
        checksum = crc32(_bytes(array), checksum)
        at += -(-array.nbytes // ALIGNED) * ALIGNED
    head = json.dumps({"about": about, "columns": places, "bytes": at, "checksum": checksum}).encode()
    file.write(head + b" " * (-(len(head) + 1) % ALIGNED) + b"\n")
    for array in arrays.values():
        file.write(_bytes(array))
        file.write(bytes(-array.nbytes % ALIGNED))


def read_columns(path: Path) -> Columns:
    """The columns of a file, read-only. Raises DataCorrupted when it is not as it was written."""
    try:
        with path.open("rb") as file:
            line = file.readline(HEAD_BYTES)
            head = json.loads(line)
            size = file.seek(0, 2)
            if size != len(line) + head["bytes"]:
                raise ValueError(f"{size} bytes instead of {len(line) + head['bytes']}")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {name: _column(data, len(line), place) for name, place in head["columns"].items()}
        checksum = 0
        for array in arrays.values():
            checksum = crc32(_bytes(array), checksum)
        if checksum != head["checksum"]:
            raise ValueError("the checksum is another")
        return Columns(head["about"], arrays)
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupted(f"{path.name} is no file of columns: {error}") from None


def _column(data: mmap.mmap, start: int, place: Mapping[str, Any]) -> Array:
    if place["type"] not in TYPES:
        raise ValueError(f"a column has the type {place['type']!r}")
    return np.frombuffer(data, place["type"], place["length"], start + place["at"])


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B") if len(array) else memoryview(b"")
