"""Artifacts: files and folders that never change, verified by SHA-256 whenever they are fetched.

A URI is a path inside the store (`models/sentiment/2`). A folder becomes visible whole by its manifest,
which is written last and read first.
"""

import hashlib
import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from shared.errors import DataCorrupted, InvalidArgument, NotFound
from shared.storage.digests import file_digest as file_digest
from shared.storage.ids import new_id
from shared.storage.stores import open_store

MANIFEST = "manifest.sha256.json"
ARTIFACT = "artifact:"
"""Prefix of a base model that is a folder in the store."""
CHUNK_BYTES = 1 << 20


class Artifacts:
    """A store at `url` (folder or `s3://bucket/prefix`), with `cache` for what is fetched from afar.

    Every method raises InvalidArgument for a URI that leaves the store, and Unavailable when it does not answer.
    """

    def __init__(self, url: str, cache: Path, endpoint: str = "") -> None:
        self._store = open_store(url, endpoint)
        self._cache = cache / "artifacts"
        self.cache = cache
        """A folder on this machine for what can be made again."""
        self.is_local = self._store.here(".") is not None

    def create(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Writes one file, visible whole when the block ends, and not at all when it raises."""
        return self._store.create(_checked(uri))

    def write_bytes(self, uri: str, data: bytes) -> None:
        with self.create(uri) as file:
            file.write(data)

    def open(self, uri: str) -> AbstractContextManager[BinaryIO]:
        """Reads one file. Raises NotFound."""
        return self._store.open(_checked(uri))

    def read_bytes(self, uri: str) -> bytes:
        with self.open(uri) as file:
            return file.read()

    def exists(self, uri: str) -> bool:
        return self._store.exists(_checked(uri))

    def list(self, uri: str) -> list[str]:
        """Names directly under a folder, sorted; empty when there is none."""
        return self._store.list(_checked(uri))

    def delete(self, uri: str) -> None:
        """Removes a file or folder; quiet when it is gone already."""
        self._store.delete(_checked(uri))

    def fetch_file(self, uri: str, digest: str) -> Path:
        """The file on this machine. Raises NotFound, or DataCorrupted when its SHA-256 is not `digest`."""
        here = self._store.here(_checked(uri))
        if here is not None:
            return _verified(here, digest, uri)
        cached = self._cache / "files" / digest
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            aside = cached.with_name(new_id("part"))
            try:
                with self.open(uri) as source, aside.open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK_BYTES)
                _verified(aside, digest, uri).replace(cached)
            finally:
                aside.unlink(missing_ok=True)
        return cached

    def put_folder(self, source: Path, uri: str) -> str:
        """Stores a folder under `uri`, which must be free or hold the same. Returns its digest.

        The digest is the SHA-256 of the manifest, which lists every file with its own. Raises DataCorrupted
        when the URI holds other files.
        """
        manifest = folder_manifest(source)
        data = json.dumps(manifest, sort_keys=True, indent=1).encode()
        if not self.exists(f"{uri}/{MANIFEST}"):
            for name in manifest:
                with (source / name).open("rb") as file, self.create(f"{uri}/{name}") as target:
                    shutil.copyfileobj(file, target, CHUNK_BYTES)
            self.write_bytes(f"{uri}/{MANIFEST}", data)
        elif self.read_bytes(f"{uri}/{MANIFEST}") != data:
            raise DataCorrupted(f"{uri!r} holds other files already; an artifact never changes", uri=uri)
        return hashlib.sha256(data).hexdigest()

    def fetch_folder(self, uri: str) -> Path:
        """The folder on this machine, every file verified. Raises NotFound or DataCorrupted."""
        data = self.read_bytes(f"{uri}/{MANIFEST}")
        manifest = _manifest(data, uri)
        here = self._store.here(_checked(uri))
        if here is not None:
            for name, digest in manifest.items():
                _verified(here / name, digest, f"{uri}/{name}")
            return here
        folder = self._cache / "folders" / hashlib.sha256(data).hexdigest()
        if not folder.exists():
            self._gather(uri, manifest, folder)
        return folder

    def _gather(self, uri: str, manifest: dict[str, str], folder: Path) -> None:
        aside = folder.with_name(new_id("part"))
        try:
            for name, digest in manifest.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.fetch_file(f"{uri}/{name}", digest), aside / name)
            aside.rename(folder)
        except OSError:
            if not folder.exists():  # else another thread or process was first
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def base_folder(base: str, artifacts: Artifacts) -> Path | None:
    """The folder of a base that is another model's version (`artifact:URI`); None for any other base."""
    return artifacts.fetch_folder(base.removeprefix(ARTIFACT)) if base.startswith(ARTIFACT) else None


def folder_manifest(folder: Path) -> dict[str, str]:
    """File name (relative, POSIX) -> SHA-256 in hex, for every file under a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def _manifest(data: bytes, uri: str) -> dict[str, str]:
    try:
        manifest = json.loads(data)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise DataCorrupted(f"the manifest of {uri!r} can't be read", uri=uri)
    return manifest


def _checked(uri: str) -> str:
    path = PurePosixPath(uri)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InvalidArgument(f"artifact URI {uri!r} must be a path inside the store", uri=uri)
    return str(path)


def _verified(path: Path, digest: str, uri: str) -> Path:
    if not path.exists():
        raise NotFound(f"no artifact {uri!r}", uri=uri)
    seen = file_digest(path)
    if seen != digest:
        raise DataCorrupted(f"{uri!r} has SHA-256 {seen[:12]}…, its record says {digest[:12]}…", uri=uri)
    return path
