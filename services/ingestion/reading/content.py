"""The bytes of a file: from a stream or from a disk, piece by piece or all of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from services.ingestion.reading.limits import PIECE_BYTES
from services.ingestion.scratch import scratch_file


class Content(Protocol):
    """A file that is read once. `head` may be asked before either of the others."""

    def head(self, size: int) -> bytes:
        """The first bytes; fewer than `size` only when there are no more."""

    def pieces(self) -> Iterator[bytes]:
        """All of its bytes, as they come."""

    def whole(self) -> IO[bytes]:
        """All of it, to seek in; waits for its end."""


class Stream:
    """What arrives in pieces; on disk, without a name, only when the whole is asked for."""

    def __init__(self, pieces: Iterable[bytes], folder: Path) -> None:
        self._rest, self._folder, self._head = iter(pieces), folder, b""

    def head(self, size: int) -> bytes:
        begun = [self._head]
        length = len(self._head)
        while length < size and (piece := next(self._rest, None)) is not None:
            begun.append(piece)
            length += len(piece)
        self._head = b"".join(begun)
        return self._head[:size]

    def pieces(self) -> Iterator[bytes]:
        if self._head:
            yield self._head
        self._head = b""
        yield from self._rest

    def whole(self) -> IO[bytes]:
        file = scratch_file(self._folder)
        try:
            for piece in self.pieces():
                file.write(piece)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file


class Stored:
    """A file that is there already, such as one that was fetched."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def head(self, size: int) -> bytes:
        self._file.seek(0)
        return self._file.read(size)

    def pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece

    def whole(self) -> IO[bytes]:
        self._file.seek(0)
        return self._file
