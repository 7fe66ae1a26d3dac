"""From a URI to files on this machine's disk, without a name there and gone when they are closed."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import IO, NamedTuple

from services.ingestion.remote.folders import Folder
from services.ingestion.remote.objects import Objects
from services.ingestion.remote.places import Found, Place
from services.ingestion.remote.policy import Policy
from services.ingestion.remote.resolving import Resolver, system_resolver, trusted_context
from services.ingestion.remote.uris import FileUri, S3Uri, parse_uri
from services.ingestion.scratch import scratch_file
from shared.config import Settings
from shared.errors import FailedPrecondition, ResourceExhausted

CHUNK_BYTES = 1 << 20

Advance = Callable[[int], None]
"""Told how many bytes came in; may raise to end the fetch."""


class Fetched(NamedTuple):
    """A file, from its beginning, and what it turned out to be."""

    file: IO[bytes]
    found: Found


class Fetcher:
    """Knows what may be fetched, and fetches it."""

    def __init__(self, settings: Settings, resolve: Resolver = system_resolver) -> None:
        self.policy = Policy.of(settings)
        self._endpoint, self._folder, self._resolve = settings.artifacts_endpoint, settings.home / "ingestion", resolve
        self._trusted = trusted_context(settings.import_ca) if self.policy.hosts else None

    def place(self, text: str) -> Place:
        """Raises InvalidArgument for what is no URI of ours, PermissionDenied for what is not allowed."""
        uri = parse_uri(text)
        self.policy.check(uri)
        if isinstance(uri, S3Uri):
            return Objects(uri, self._endpoint)
        if isinstance(uri, FileUri):
            return Folder(uri, self.policy.root_of(uri))
        from services.ingestion.remote.web import Web  # its client takes a while to import

        assert self._trusted is not None, "no host is allowed without the setting"
        return Web(uri, self.policy, self._trusted, self._resolve)

    def fetch(self, place: Place, found: Found, advance: Advance) -> Fetched:
        """Copies a file; close it. One that nothing else identifies is known by its SHA-256.

        Raises FailedPrecondition for one that is larger than allowed, ResourceExhausted where it has no room.
        """
        file = scratch_file(self._folder)
        try:
            with place.open(found) as stream:
                self._check_size(stream.found.size or 0, stream.found)
                self._check_room(stream.found)
                found = self._copy(stream.found, stream.read, file, advance)
        except BaseException:  # also what is told at the end of the place's own block
            file.close()
            raise
        file.seek(0)
        return Fetched(file, found)

    def _copy(self, found: Found, read: Callable[[int], bytes], file: IO[bytes], advance: Advance) -> Found:
        digest, size = hashlib.sha256(), 0
        while data := read(CHUNK_BYTES):
            size += len(data)
            self._check_size(size, found)
            digest.update(data)
            file.write(data)
            advance(len(data))
        file.flush()
        return replace(found, size=size, identity=found.identity or digest.hexdigest())

    def _check_size(self, size: int, found: Found) -> None:
        if size > self.policy.max_bytes:
            raise FailedPrecondition(
                f"{found.name} is larger than {self.policy.max_bytes:,} bytes (FLYWHEEL_IMPORT_MAX_BYTES)", field="uri"
            )

    def _check_room(self, found: Found) -> None:
        if (found.size or 0) > shutil.disk_usage(self._folder).free:
            raise ResourceExhausted(f"no room on the disk to fetch {found.name}", retry_seconds=30)
