"""Reading what ingestion keeps: batches, quarantine, dataset versions and their rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shared.errors import FailedPrecondition, InvalidArgument
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import read_manifest, read_rows
from shared.storage.repositories import batches, datasets, pipelines
from shared.storage.tables import Batch, DatasetVersion, QuarantinedRow


@dataclass(frozen=True)
class VersionEntry:
    """A dataset version and the batches in it."""

    version: DatasetVersion
    batches: list[str]


class Catalogue:
    """Questions about data. Everything raises NotFound for a pipeline, batch or version that is not there."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts

    def batch(self, id: str) -> Batch:
        with self._database.read() as session:
            return batches.get(session, id)

    def batches(self, pipeline: str, limit: int, offset: int) -> list[Batch]:
        """Newest first; of every pipeline when none is named."""
        with self._database.read() as session:
            if pipeline:
                pipelines.get(session, pipeline)
            return batches.page(session, pipeline, limit, offset)

    def quarantine(self, pipeline: str, batch: str, limit: int, offset: int) -> list[QuarantinedRow]:
        """Rows that were not accepted, of a pipeline or of a batch."""
        with self._database.read() as session:
            if pipeline or not batch:
                pipelines.get(session, pipeline)
            if batch:
                batches.get(session, batch)
            return batches.quarantine(session, pipeline, batch, limit, offset)

    def versions(self, pipeline: str, limit: int, offset: int) -> list[VersionEntry]:
        """Newest first."""
        with self._database.read() as session:
            pipelines.get(session, pipeline)
            found = datasets.page(session, pipeline, limit, offset)
            return [VersionEntry(row, datasets.batches_of(session, pipeline, row.version)) for row in found]

    def version(self, pipeline: str, version: int) -> VersionEntry:
        """One version; 0 is the newest sealed one."""
        with self._database.read() as session:
            pipelines.get(session, pipeline)
            found = datasets.get(session, pipeline, version)
            return VersionEntry(found, datasets.batches_of(session, pipeline, found.version))

    def rows(
        self, pipeline: str, version: int, split: str, wanted: Sequence[str], limit: int
    ) -> Iterator[dict[str, Any]]:
        """Rows of a sealed version, as shared.storage.datasets reads them.

        Raises FailedPrecondition when it is not sealed, InvalidArgument for a split that there is none of.
        """
        if split and split not in SPLITS:
            raise InvalidArgument(f"split={split!r} must be {', '.join(SPLITS)}, or empty for all", field="split")
        if limit < 0:
            raise InvalidArgument(f"limit={limit} must be 0 (all) or more", field="limit")
        entry = self.version(pipeline, version)
        unknown = [batch for batch in wanted if batch not in entry.batches]
        if unknown:
            raise InvalidArgument(f"version {entry.version.version} has no batch {unknown[0]!r}", field="batches")
        if entry.version.state != "sealed":
            raise FailedPrecondition(f"version {version} of {pipeline!r} is {entry.version.state}, not sealed")
        manifest = read_manifest(self._artifacts, entry.version.manifest_uri)
        rows = read_rows(self._artifacts, manifest, split or None, frozenset(wanted) or None)
        return islice(rows, limit or None)
