"""Rows of fetched files, whatever they are in, under the names that the pipeline knows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from services.ingestion.reading.content import Stored
from services.ingestion.reading.files import Reading, Told
from services.ingestion.reading.received import Received
from services.ingestion.remote.fetching import Fetched
from services.ingestion.remote.mapping import renamed
from services.ingestion.remote.progress import Progress


@dataclass(frozen=True)
class Manner:
    """How files are read: what is said of them, and the source's own names for fields, and the pipeline's."""

    limit: int
    folder: Path
    format: str = ""
    encoding: str = ""
    own_fields: Mapping[str, str] = field(default_factory=dict)
    product_fields: Mapping[str, str] = field(default_factory=dict)


class FetchedRows:
    """The rows of files, one file after another, their lines counted through; `format` and `encoding` in the end."""

    def __init__(self, files: Iterable[Fetched], manner: Manner, progress: Progress, check: Callable[[], None]) -> None:
        """`check` is called at every row and may raise to end it all."""
        self.format = self.encoding = ""
        self._files, self._manner, self._progress, self._check = files, manner, progress, check

    def __iter__(self) -> Iterator[Received]:
        """Raises InvalidArgument when a file is in no format that rows come in."""
        return renamed(self._rows(), self._manner.own_fields, self._manner.product_fields)

    def _rows(self) -> Iterator[Received]:
        passed = done = 0
        for fetched in self._files:
            last = 0
            with closing(fetched.file):
                for received in self._read(fetched):
                    self._check()
                    self._progress.rows += 1
                    last = received.line
                    yield received._replace(line=passed + last) if passed else received
            passed += last
            done += fetched.found.size or 0
            self._progress.read_bytes = done

    def _read(self, fetched: Fetched) -> Iterator[Received]:
        manner = self._manner
        names = {**manner.product_fields, **manner.own_fields}
        told = Told(manner.format, manner.encoding, fetched.found.name, names)
        content = Counted(fetched.file, self._progress)
        reading = Reading(content, told, manner.limit, manner.folder)
        yield from reading
        self.format, self.encoding = _both(self.format, reading.format), _both(self.encoding, reading.encoding)


class Counted(Stored):
    """A file whose reading counts as progress, as long as it is read from its beginning to its end."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        super().__init__(file)
        self._progress = progress

    def pieces(self) -> Iterator[bytes]:
        for piece in super().pieces():
            self._progress.read_bytes += len(piece)
            yield piece


def _both(before: str, now: str) -> str:
    return "+".join(sorted({*filter(None, (*before.split("+"), *now.split("+")))}))
