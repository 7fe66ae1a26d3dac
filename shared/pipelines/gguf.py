"""The numbers in a GGUF file's header, read without a library (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import struct
from pathlib import Path
from typing import BinaryIO

NUMBERS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, LIST = 8, 9
LONGEST = 1 << 20

Value = int | float | bool | str


def read_header(path: Path) -> dict[str, Value]:
    """Keys and values of the model itself: what comes before the tokenizer, without lists.

    Raises ValueError for a file that is no GGUF of version 2 or later.
    """
    with path.open("rb") as file:
        try:
            magic, version, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version < 2:
                raise ValueError(f"{path.name} is no GGUF file of version 2 or later")
            return _pairs(file, count)
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"{path.name} is no whole GGUF file: {error}") from None


def _pairs(file: BinaryIO, count: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for _ in range(count):
        key = _string(file)
        (kind,) = struct.unpack("<I", file.read(4))
        if key.startswith("tokenizer."):
            break
        if kind == LIST:
            _skip_list(file)
            continue
        if kind == STRING:
            found[key] = _string(file)
        elif kind in NUMBERS:
            (found[key],) = struct.unpack(NUMBERS[kind], file.read(struct.calcsize(NUMBERS[kind])))
        else:
            raise ValueError(f"GGUF has no values of type {kind}")
    return found


def _skip_list(file: BinaryIO) -> None:
    kind, count = struct.unpack("<IQ", file.read(12))
    if kind == STRING:
        for _ in range(count):
            _string(file)
    elif kind in NUMBERS:
        file.seek(count * struct.calcsize(NUMBERS[kind]), 1)
    else:
        raise ValueError(f"GGUF has no lists of type {kind}")


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > LONGEST:
        raise ValueError(f"a text of {length} bytes in a GGUF header")
    text = file.read(length)
    if len(text) < length:
        raise ValueError("a GGUF header ends inside a text")
    return text.decode()
