"""Calls about dataset versions: comparing, fetching, deleting rows."""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shared.client.connection import Connection
from shared.client.data import DatasetDiff, Deletion
from shared.client.progress import Progress, silent
from shared.client.reading import read
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.errors import DataCorrupted
from shared.storage.digests import file_digest

if TYPE_CHECKING:
    from shared.storage.datasets import Manifest

EXPORT_SECONDS = 3600.0
DELETE_SECONDS = 600.0
DIGEST = re.compile("[0-9a-f]{64}")
NAME = re.compile("[a-z][a-z0-9-]*")
MOST_KNOWN = 20_000
"""Digests of parts that a request names; more would not fit into a message."""
FORGOTTEN_SECONDS = 24 * 3600
"""After this long a part in the cache that the newest fetched version has not is removed."""


@dataclass(frozen=True)
class LocalVersion:
    """A dataset version on this machine: its manifest, and the file of each part by its SHA-256."""

    manifest: "Manifest"
    files: Mapping[str, Path]


class DatasetCalls:
    """Raises the errors of shared.errors."""

    _ingestion: Connection

    def diff_versions(self, pipeline: str, first: int, second: int = 0) -> DatasetDiff:
        """What changed from one dataset version to another; without `second` to the newest sealed one."""
        stub = self._ingestion.stub(IngestionStub)
        request = pb.DiffDatasetVersionsRequest(pipeline=pipeline, first=first, second=second)
        found = self._ingestion.attempt(lambda: stub.DiffDatasetVersions(request, timeout=EXPORT_SECONDS))
        return read(DatasetDiff, found)

    def delete_rows(
        self, pipeline: str, *, rows: Sequence[str] = (), sources: Sequence[str] = (), reason: str
    ) -> Deletion:
        """Removes rows by id and all rows of sources; the next dataset version is without them.

        Versions that hold them expire. Asking again is harmless.
        """
        stub = self._ingestion.stub(IngestionStub)
        request = pb.DeleteRowsRequest(pipeline=pipeline, rows=rows, sources=sources, reason=reason)
        return read(Deletion, self._ingestion.attempt(lambda: stub.DeleteRows(request, timeout=DELETE_SECONDS)))

    def dataset_manifest(self, pipeline: str, version: int = 0) -> "Manifest":
        """What a sealed version says about itself: parts, rules, licences, the leak check."""
        with self._ingestion.errors():
            stream = self._export(pipeline, version, ())
            found = _manifest(_Messages(stream))
            stream.cancel()
        return found

    def fetch_version(self, pipeline: str, version: int, cache: Path, *, progress: Progress = silent) -> LocalVersion:
        """Brings the parts of a sealed version (0: the newest) into a folder, verified; those there are not sent again.

        Raises DataCorrupted when what arrives is not what the manifest says.
        """
        store = _PartStore(cache / "datasets" / pipeline if NAME.fullmatch(pipeline) else cache / "datasets" / "_")

        def fetch() -> LocalVersion:
            messages = _Messages(self._export(pipeline, version, store.known()))
            manifest = _manifest(messages)
            store.take(messages, manifest, progress)
            return LocalVersion(manifest, store.files(manifest))

        return self._ingestion.attempt(fetch)

    def _export(self, pipeline: str, version: int, have: Sequence[str]) -> Any:
        stub = self._ingestion.stub(IngestionStub)
        request = pb.ExportDatasetVersionRequest(pipeline=pipeline, version=version, have=have)
        return stub.ExportDatasetVersion(request, timeout=EXPORT_SECONDS)


class _Messages:
    """A stream whose next message can be looked at."""

    def __init__(self, stream: Iterator[pb.ExportChunk]) -> None:
        self._stream = stream
        self._next: pb.ExportChunk | None = next(stream, None)

    def take(self, kind: str) -> Iterator[pb.ExportChunk]:
        """The messages in a row that hold this."""
        while self._next is not None and self._next.WhichOneof("content") == kind:
            yield self._next
            self._next = next(self._stream, None)

    def take_part(self) -> str | None:
        """The digest of the part that follows; None at the end. Raises DataCorrupted for anything else."""
        message = self._next
        if message is None:
            return None
        if message.WhichOneof("content") != "part":
            raise DataCorrupted("the stream of a dataset version is out of order")
        self._next = next(self._stream, None)
        return message.part


def _manifest(messages: _Messages) -> "Manifest":
    from shared.storage.datasets import Manifest

    manifest = Manifest.from_json(b"".join(message.manifest for message in messages.take("manifest")))
    for part in manifest.parts:
        if not DIGEST.fullmatch(part.digest):
            raise DataCorrupted(f"the manifest names a part {part.digest[:80]!r}, which is no SHA-256")
    return manifest


class _PartStore:
    """Parts by their SHA-256. A file is written aside and renamed once its digest is right."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._verified: set[str] = set()

    def known(self) -> list[str]:
        """Those that are whole; a damaged one is removed."""
        for path in self._folder.iterdir():
            name = path.name.removesuffix(".parquet")
            if DIGEST.fullmatch(name) and name not in self._verified:
                if file_digest(path) == name:
                    self._verified.add(name)
                else:
                    path.unlink()
        return sorted(self._verified)[:MOST_KNOWN]

    def take(self, messages: _Messages, manifest: "Manifest", progress: Progress) -> None:
        rows = {part.digest: part.rows for part in manifest.parts}
        total, done = sum(rows.values()), sum(rows[digest] for digest in rows.keys() & self._verified)
        progress(done, total)
        while (digest := messages.take_part()) is not None:
            if digest not in rows:
                raise DataCorrupted(f"a part {digest[:80]!r} came that the manifest does not name")
            self._receive(digest, messages)
            done += rows[digest]
            progress(done, total)

    def files(self, manifest: "Manifest") -> dict[str, Path]:
        """Raises DataCorrupted when the stream ended before its last part."""
        wanted = {part.digest for part in manifest.parts}
        if missing := wanted - self._verified:
            raise DataCorrupted(f"{len(missing)} parts of the version did not come")
        self._forget(wanted)
        return {digest: self._path(digest) for digest in wanted}

    def _receive(self, digest: str, messages: _Messages) -> None:
        aside = self._path(digest).with_suffix(f".{time.monotonic_ns()}")
        try:
            with aside.open("wb") as file:
                seen = _copy(messages, file)
            if seen != digest:
                raise DataCorrupted(f"a part came with SHA-256 {seen[:12]}…, the manifest says {digest[:12]}…")
            aside.replace(self._path(digest))
            self._verified.add(digest)
        finally:
            aside.unlink(missing_ok=True)

    def _forget(self, wanted: set[str]) -> None:
        """Parts of versions that nobody asked for lately; rows that were deleted do not stay here for ever."""
        for path in self._folder.iterdir():
            with suppress(OSError):
                if path.stem in wanted:
                    path.touch()
                elif time.time() - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.parquet"


def _copy(messages: _Messages, file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for message in messages.take("data"):
        digest.update(message.data)
        file.write(message.data)
    return digest.hexdigest()
