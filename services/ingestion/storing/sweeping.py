"""Files of batches that nothing needs any more: left behind by a crash, rewritten by a deletion, or of versions that
have expired."""

import re
import time
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import read_manifest
from shared.storage.repositories import datasets, jobs
from shared.storage.tables import Batch, DatasetVersion, Job
from shared.telemetry.logs import get_logger

ROOT = "datasets"
FOLDER = "parts"
STALE_SECONDS = 3600
MADE = re.compile(r"(batch-([0-9a-f]{11})[0-9a-f]{9})\.")
STEP = re.compile(r"-([0-9a-f]{11})[0-9a-f]{9}")
log = get_logger(__name__)


class Sweeper:
    """Removes files that no batch names now, no version that can be read, and no job that is under way."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def sweep(self, stale_seconds: float = STALE_SECONDS) -> int:
        """Of every pipeline, those that are older than so many seconds. Returns how many files."""
        removed = 0
        for pipeline in self._artifacts.list(ROOT):
            removed += len(self.remove(pipeline, self._stale(pipeline, stale_seconds)))
        if removed:
            log.info("left-over files removed", files=removed)
        return removed

    def remove(self, pipeline: str, uris: Collection[str]) -> list[str]:
        """Removes those of a pipeline's files that nothing needs, and returns them."""
        if not uris:
            return []
        with self._database.read() as session:
            spare = set(uris) - named_by_batches(session, pipeline)
            spare -= self._read_by_versions(session, pipeline, spare)
        for uri in sorted(spare):
            self._artifacts.delete(uri)
        return sorted(spare)

    def _stale(self, pipeline: str, stale_seconds: float) -> list[str]:
        folder = f"{ROOT}/{pipeline}/{FOLDER}"
        names = self._artifacts.list(folder)
        return [f"{folder}/{name}" for name in names if MADE.match(name) and age_seconds(name) > stale_seconds]

    def _read_by_versions(self, session: Session, pipeline: str, uris: Collection[str]) -> set[str]:
        batches = {found[1] for uri in uris if (found := MADE.match(uri.rpartition("/")[2]))}
        needed: set[str] = set()
        for version in [*datasets.sealed_with(session, pipeline, batches), *_trained_on(session, pipeline)]:
            try:
                manifest = read_manifest(self._artifacts, version.manifest_uri)
            except NotFound:
                log.error("a manifest is missing", pipeline=pipeline, version=version.version)
                continue
            needed |= {part.uri for part in manifest.parts}
        return needed & set(uris)


def named_by_batches(session: Session, pipeline: str) -> set[str]:
    """Files that the batches of a pipeline point at now."""
    query = select(Batch.part_uri, Batch.index_uri, Batch.journal_uri).where(Batch.pipeline == pipeline)
    return {uri for row in session.execute(query) for uri in row if uri}


def age_seconds(name: str) -> float:
    """By the newest of the times in the ids that a file is named by."""
    return time.time() - max(int(made, 16) for made in STEP.findall(name)) / 1000


def _trained_on(session: Session, pipeline: str) -> list[DatasetVersion]:
    """Expired versions that a job under way began with: its files stay until it has ended."""
    held = select(Job.dataset_version).where(Job.pipeline == pipeline, Job.state.in_(jobs.HELD))
    query = select(DatasetVersion).where(
        DatasetVersion.pipeline == pipeline, DatasetVersion.state == "expired", DatasetVersion.version.in_(held)
    )
    return list(session.scalars(query))
