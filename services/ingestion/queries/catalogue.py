"""Reading what ingestion keeps: batches, quarantine, dataset versions and their rows."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.rows.splits import SPLITS
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import Manifest, read_manifest, read_rows
from shared.storage.repositories import batches, datasets, pipelines
from shared.storage.tables import Batch, DatasetVersion, QuarantinedRow

T = TypeVar("T")
EXPORT_BYTES = 1 << 19
"""Of a message; gRPC takes 4 MiB."""


class Exported(NamedTuple):
    """One of: bytes of the manifest, the digest of the part that follows, bytes of that part."""

    manifest: bytes = b""
    part: str = ""
    data: bytes = b""


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
        with self._database.read() as session:
            manifest = sealed_manifest(session, self._artifacts, pipeline, entry.version.version)
        rows = read_rows(self._artifacts, manifest, split or None, frozenset(wanted) or None)
        return islice(self._until_expired(pipeline, manifest.version, rows), limit or None)

    def export(self, pipeline: str, version: int, have: Collection[str]) -> Iterator[Exported]:
        """The manifest of a sealed version, then the parts that the caller lacks, as they are stored.

        Raises FailedPrecondition when it is not sealed, also when it expires on the way.
        """
        with self._database.read() as session:
            found = readable(datasets.get(session, pipeline, version))
        data = self._artifacts.read_bytes(found.manifest_uri)
        return self._until_expired(pipeline, found.version, self._exported(data, frozenset(have)))

    def _exported(self, manifest: bytes, have: frozenset[str]) -> Iterator[Exported]:
        for start in range(0, len(manifest), EXPORT_BYTES):
            yield Exported(manifest=manifest[start : start + EXPORT_BYTES])
        for part in Manifest.from_json(manifest).parts:
            if part.digest in have:
                continue
            with self._artifacts.open(part.uri) as file:
                yield Exported(part=part.digest)
                while data := file.read(EXPORT_BYTES):
                    yield Exported(data=data)

    def _until_expired(self, pipeline: str, version: int, found: Iterator[T]) -> Iterator[T]:
        """A file that goes while it is read went with the version: then that is what the reader is told."""
        try:
            yield from found
        except NotFound:
            with self._database.read() as session:
                readable(datasets.get(session, pipeline, version))
            raise


def sealed_manifest(session: Session, artifacts: Artifacts, pipeline: str, version: int) -> Manifest:
    """Of a version that can be read; 0 is the newest one. Raises NotFound or FailedPrecondition."""
    pipelines.get(session, pipeline, deleted=True)
    return read_manifest(artifacts, readable(datasets.get(session, pipeline, version)).manifest_uri)


def readable(version: DatasetVersion) -> DatasetVersion:
    """Raises FailedPrecondition unless the version is sealed."""
    if version.state != "sealed":
        why = f": {version.reason}" if version.reason else ""
        raise FailedPrecondition(
            f"version {version.version} of {version.pipeline!r} is {version.state}, not sealed{why}",
            pipeline=version.pipeline,
            version=version.version,
        )
    return version
