"""Parts in the artifact store: one immutable Parquet file a batch, written before the row that names it."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from services.ingestion.draft import Draft
from shared.errors import Aborted, FlywheelError
from shared.storage.artifacts import CHUNK_BYTES, Artifacts
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.tables import Batch
from shared.telemetry.logs import get_logger

T = TypeVar("T")
ROOT = "datasets"
ATTEMPTS = 10
STALE_SECONDS = 3600
MADE = re.compile(r"batch-([0-9a-f]{11})")
log = get_logger(__name__)


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
        """Removes what a crash left between writing a part and naming it. Returns how many files."""
        removed = 0
        for pipeline in self._artifacts.list(ROOT):
            with self._database.read() as session:
                recorded = set(session.scalars(select(Batch.id).where(Batch.pipeline == pipeline)))
            folder = f"{ROOT}/{pipeline}/parts"
            for name in self._artifacts.list(folder):
                whole = name.endswith(".parquet") and name.split(".")[0] in recorded
                made = MADE.match(name)
                if not whole and made and _age_seconds(made) > stale_seconds:
                    self._artifacts.delete(f"{folder}/{name}")
                    removed += 1
        if removed:
            log.info("left-over parts removed", files=removed)
        return removed


def _age_seconds(made: re.Match[str]) -> float:
    """By the time in the batch's id, which is made when all of its rows are there."""
    return time.time() - int(made[1], 16) / 1000
