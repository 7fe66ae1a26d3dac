"""Files of a batch in the artifact store: its Parquet part, its segment of the index, its journal. None ever changes,
and all are written before the row that names them."""

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from threading import RLock
from typing import IO, Any, Protocol, Self, TypeVar

from sqlalchemy import select

from services.ingestion.storing.journal import Entry, Journal
from services.ingestion.storing.sweeping import FOLDER, ROOT, STALE_SECONDS, Sweeper
from shared.errors import Aborted, FlywheelError
from shared.storage.artifacts import CHUNK_BYTES, Artifacts
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.tables import Batch

T = TypeVar("T")
D = TypeVar("D", bound="Publishable")
ATTEMPTS = 10
CROWDED = 2
"""Attempts after which a batch keeps others of this process waiting, so that they do not overtake it for ever."""
ENDINGS = ("parquet", "index", "journal.parquet")


class Overtaken(Exception):
    """Another batch brought some of the rows between the check and the commit."""


class Publishable(Protocol):
    """Rows that are about to become visible."""

    @property
    def rows(self) -> int: ...

    @property
    def splits(self) -> dict[str, int]: ...

    @property
    def statistics(self) -> dict[str, Any]: ...

    @property
    def duplicates(self) -> int: ...

    @property
    def near_duplicates(self) -> int: ...

    def files(self) -> dict[str, IO[bytes]]:
        """What there is to store, by ending: `parquet` (none without rows) and `index`."""

    def fates(self) -> Iterable[Entry]:
        """What there is to tell of rows beside what the journal has."""

    def again(self) -> Self:
        """Decided anew by what the index holds by now."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class StoredPart:
    """Where a part lies and the SHA-256 of the file; both empty for a batch that brought no row. The same of its
    segment of the index, and of its journal; both empty when there is nothing to tell."""

    uri: str = ""
    digest: str = ""
    index_uri: str = ""
    index_digest: str = ""
    journal_uri: str = ""
    journal_digest: str = ""


class Parts:
    """Writes parts and removes those that nothing names."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts
        self._turns: dict[str, RLock] = {}

    def publish(
        self,
        pipeline: str,
        batch: str,
        draft: D,
        record: Callable[[D, StoredPart], T],
        journal: Journal | None = None,
    ) -> T:
        """Stores the draft's files and what the journal tells, and lets `record` commit it.

        When `record` raises Overtaken, the rows that came in meanwhile are dropped and it is asked again.
        Whatever it raises, files that the batch does not name are removed. Ends the draft.
        """
        try:
            turn = self._turns.setdefault(pipeline, RLock())
            for attempt in range(ATTEMPTS):
                with turn if attempt >= CROWDED else nullcontext():
                    draft = draft.again() if attempt else draft
                    with suppress(Overtaken), self._stored(pipeline, batch, draft, journal) as part, turn:
                        return record(draft, part)
        finally:
            draft.close()
        raise Aborted(f"other batches keep bringing rows of batch {batch}; send it again", batch=batch)

    @contextmanager
    def _stored(self, pipeline: str, batch: str, draft: Publishable, journal: Journal | None) -> Iterator[StoredPart]:
        stored: list[str] = []
        name = f"{ROOT}/{pipeline}/{FOLDER}/{batch}.{new_id('part')}"
        try:
            files = draft.files()
            told = journal.finish(draft.fates()) if journal else None
            with told or nullcontext():
                if told:
                    files["journal.parquet"] = told
                places = {end: self._store(f"{name}.{end}", file, stored) for end, file in files.items()}
            yield StoredPart(*(place for end in ENDINGS for place in places.get(end, ("", ""))))
        finally:
            self._drop_unless_named(batch, stored)

    def _store(self, uri: str, content: IO[bytes], stored: list[str]) -> tuple[str, str]:
        content.seek(0)
        digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
        content.seek(0)
        stored.append(uri)
        with self._artifacts.create(uri) as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
        return uri, digest

    def _drop_unless_named(self, batch: str, stored: Collection[str]) -> None:
        """Left for `sweep` when the database can't tell: a commit that seems to have failed may have been done."""
        if not stored:
            return
        with suppress(FlywheelError, OSError):
            with self._database.read() as session:
                query = select(Batch.part_uri, Batch.index_uri, Batch.journal_uri).where(Batch.id == batch)
                named = {uri for row in session.execute(query) for uri in row}
            for uri in set(stored) - named:
                self._artifacts.delete(uri)

    def sweep(self, stale_seconds: float = STALE_SECONDS) -> int:
        """Removes files that nothing needs, such as those that a crash left before they were named. Returns how many."""
        return Sweeper(self._database, self._artifacts).sweep(stale_seconds)
