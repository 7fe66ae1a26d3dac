"""Parts in the artifact store: one immutable Parquet file a batch, written before the row that names it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from services.ingestion.draft import Draft
from services.ingestion.sweeping import ROOT, STALE_SECONDS, Sweeper
from shared.errors import Aborted, FlywheelError
from shared.storage.artifacts import CHUNK_BYTES, Artifacts
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.tables import Batch

T = TypeVar("T")
ATTEMPTS = 10


class Overtaken(Exception):
    """Another batch brought some of the rows between the check and the commit."""


@dataclass(frozen=True)
class StoredPart:
    """Where a part lies and the SHA-256 of the file; both empty for a batch that brought no row."""

    uri: str = ""
    digest: str = ""


class Parts:
    """Writes parts and removes those that nothing names."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def publish(self, pipeline: str, batch: str, draft: Draft, record: Callable[[Draft, StoredPart], T]) -> T:
        """Stores the draft's part and lets `record` commit it.

        When `record` raises Overtaken, the rows that came in meanwhile are dropped and it is asked again.
        Whatever it raises, a part that the batch does not name is removed. Ends the draft.
        """
        try:
            for _ in range(ATTEMPTS):
                with suppress(Overtaken), self._stored(pipeline, batch, draft) as part:
                    return record(draft, part)
                draft = draft.again()
        finally:
            draft.close()
        raise Aborted(f"other batches keep bringing rows of batch {batch}; send it again", batch=batch)

    @contextmanager
    def _stored(self, pipeline: str, batch: str, draft: Draft) -> Iterator[StoredPart]:
        part = self._store(pipeline, batch, draft) if draft.rows else StoredPart()
        try:
            yield part
        finally:
            if part.uri:
                self._drop_unless_named(batch, part.uri)

    def _store(self, pipeline: str, batch: str, draft: Draft) -> StoredPart:
        uri = f"{ROOT}/{pipeline}/parts/{batch}.{new_id('part')}.parquet"
        draft.file.seek(0)
        digest = hashlib.file_digest(draft.file, "sha256").hexdigest()  # type: ignore[arg-type]
        draft.file.seek(0)
        with self._artifacts.create(uri) as file:
            shutil.copyfileobj(draft.file, file, CHUNK_BYTES)
        return StoredPart(uri, digest)

    def _drop_unless_named(self, batch: str, uri: str) -> None:
        """Left for `sweep` when the database can't tell: a commit that seems to have failed may have been done."""
        with suppress(FlywheelError, OSError):
            with self._database.read() as session:
                named = session.scalar(select(Batch.part_uri).where(Batch.id == batch))
            if named != uri:
                self._artifacts.delete(uri)

    def sweep(self, stale_seconds: float = STALE_SECONDS) -> int:
        """Removes files that nothing needs, such as those that a crash left before they were named. Returns how many."""
        return Sweeper(self._database, self._artifacts).sweep(stale_seconds)
