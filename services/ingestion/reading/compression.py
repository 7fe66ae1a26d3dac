"""gzip and zstd: pieces in, pieces out, in bounded memory whatever they claim."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from services.ingestion.reading.limits import PIECE_BYTES, Budget
from shared.errors import InvalidArgument

GZIP = 31
"""zlib's window bits for gzip."""
ZSTD_STEP = 1024
"""Packed bytes at a time: four bytes can make a block of 128 KiB, so these make 32 MiB at most."""
ZSTD_WINDOW = 128 << 20
"""What `zstd --long` makes; more has to be asked for on both sides."""


def gunzip(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    """The unpacked bytes of a gzip file of any number of members. Raises InvalidArgument."""
    unpacker, inside, came = zlib.decompressobj(GZIP), False, False
    for piece in pieces:
        budget.came(len(piece))
        while piece:
            if not inside:
                piece = piece.lstrip(b"\0") if came else piece  # archives on tapes are padded
                if not piece:
                    break
                unpacker, inside, came = zlib.decompressobj(GZIP), True, True
            for made in _unzipped(unpacker, piece):
                budget.made(len(made))
                yield made
            inside, piece = not unpacker.eof, unpacker.unused_data
    if inside or not came:
        raise _cut("gzip")


def _unzipped(unpacker: Any, piece: bytes) -> Iterator[bytes]:
    while True:
        try:
            made = unpacker.decompress(piece, PIECE_BYTES)
        except zlib.error as error:
            raise _damaged("gzip", error) from None
        if made:
            yield made
        piece = unpacker.unconsumed_tail
        if unpacker.eof or (not piece and len(made) < PIECE_BYTES):
            return


def unzstd(pieces: Iterator[bytes], budget: Budget) -> Iterator[bytes]:
    """The unpacked bytes of a zstd file of any number of frames. Raises InvalidArgument."""
    import zstandard

    made_for = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame, inside, came = made_for.decompressobj(), False, False
    for piece in pieces:
        budget.came(len(piece))
        for start in range(0, len(piece), ZSTD_STEP):
            step = piece[start : start + ZSTD_STEP]
            while step:
                if not inside:
                    frame, inside, came = made_for.decompressobj(), True, True
                try:
                    made = frame.decompress(step)
                except zstandard.ZstdError as error:
                    raise _damaged("zstd", error) from None
                budget.made(len(made))
                for place in range(0, len(made), PIECE_BYTES):
                    yield made[place : place + PIECE_BYTES]
                inside, step = not frame.eof, frame.unused_data if frame.eof else b""
    if inside or not came:
        raise _cut("zstd")


UNPACKERS: dict[str, Callable[[Iterator[bytes], Budget], Iterator[bytes]]] = {"gz": gunzip, "zst": unzstd}
"""By the end of a file's name."""


def _cut(what: str) -> InvalidArgument:
    return InvalidArgument(f"the {what} file ends in the middle; it was cut. Send the whole of it", field="chunk")


def _damaged(what: str, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"the {what} file is damaged ({error}); pack it again", field="chunk")
