"""Files and folders in a store: a local folder or an S3-protocol bucket, through fsspec.

A URI is a path inside the store (`models/sentiment/2`). A folder becomes visible whole: on a local
store by a rename, on an object store by its manifest, which is written last and read first.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import fsspec

from shared.errors import DataCorrupted, InvalidArgument, NotFound
from shared.storage.ids import new_id

MANIFEST = "manifest.sha256.json"
CHUNK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Artifacts:
    """A store at `url` (folder or `s3://bucket/prefix`), with `cache` for what is fetched from afar."""

    def __init__(self, url: str, cache: Path, endpoint: str = "") -> None:
        options = {"client_kwargs": {"endpoint_url": endpoint}} if endpoint and url.startswith("s3://") else {}
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, **options)
        except (ValueError, ImportError) as error:
            raise InvalidArgument(f"FLYWHEEL_ARTIFACTS_URL={url!r}: {error}") from None
        self.is_local = "file" in self._files.protocol
        self._cache = cache / "artifacts"
        if self.is_local:
            self._files.makedirs(self._root, exist_ok=True)

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        """Writes one file, visible whole when the block ends, and not at all when it raises."""
        target = self._at(uri)
        aside = f"{target}.{new_id('part')}" if self.is_local else target
        if self.is_local:
            self._files.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        file = self._files.open(aside, "wb") if self.is_local else self._files._open(aside, "wb", autocommit=False)
        try:
            with file:
                yield cast(BinaryIO, file)
                if self.is_local:
                    file.flush()
                    os.fsync(file.fileno())
        except BaseException:
            if self.is_local:
                Path(aside).unlink(missing_ok=True)
            else:
                file.discard()
            raise
        if self.is_local:
            Path(aside).replace(target)
        else:
            file.commit()  # by the file itself: fsspec's transactions belong to no thread

    def write_bytes(self, uri: str, data: bytes) -> None:
        with self.create(uri) as file:
            file.write(data)

    @contextmanager
    def open(self, uri: str) -> Iterator[BinaryIO]:
        """Reads one file. Raises NotFound."""
        try:
            with self._files.open(self._at(uri), "rb") as file:
                yield cast(BinaryIO, file)
        except FileNotFoundError:
            raise NotFound(f"no artifact {uri!r}", uri=uri) from None

    def read_bytes(self, uri: str) -> bytes:
        with self.open(uri) as file:
            return file.read()

    def exists(self, uri: str) -> bool:
        return bool(self._files.exists(self._at(uri)))

    def list(self, uri: str) -> list[str]:
        """Names directly under a folder, sorted; empty when there is none."""
        try:
            self._files.invalidate_cache()
            found = self._files.ls(self._at(uri), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(path).name for path in found)

    def delete(self, uri: str) -> None:
        """Removes a file or folder; quiet when it is gone already."""
        self._files.invalidate_cache()
        if self._files.exists(self._at(uri)):
            self._files.rm(self._at(uri), recursive=True)

    def fetch_file(self, uri: str, digest: str) -> Path:
        """The file on this machine. Raises NotFound, or DataCorrupted when its SHA-256 is not `digest`."""
        if self.is_local:
            path = Path(self._at(uri))
            if not path.exists():
                raise NotFound(f"no artifact {uri!r}", uri=uri)
            _verify(path, digest, uri)
            return path
        cached = self._cache / "files" / digest
        if not cached.exists():
            cached.parent.mkdir(parents=True, exist_ok=True)
            aside = cached.with_name(new_id("part"))
            with self.open(uri) as source, aside.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            _verify(aside, digest, uri)
            aside.replace(cached)
        return cached

    def put_folder(self, source: Path, uri: str) -> str:
        """Stores a folder under `uri`, which must be free or hold the same. Returns its digest.

        The digest is the SHA-256 of the manifest, which lists every file with its own.
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
        manifest: dict[str, str] = json.loads(data)
        if self.is_local:
            for name, digest in manifest.items():
                _verify(Path(self._at(f"{uri}/{name}")), digest, f"{uri}/{name}")
            return Path(self._at(uri))
        folder = self._cache / "folders" / hashlib.sha256(data).hexdigest()
        if not folder.exists():
            aside = folder.with_name(new_id("part"))
            for name, digest in manifest.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.fetch_file(f"{uri}/{name}", digest), aside / name)
            aside.rename(folder)
        return folder

    def _at(self, uri: str) -> str:
        path = PurePosixPath(uri)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise InvalidArgument(f"artifact URI {uri!r} must be a path inside the store", uri=uri)
        return f"{self._root.rstrip('/')}/{path}"


def folder_manifest(folder: Path) -> dict[str, str]:
    """File name (relative, POSIX) -> SHA-256 in hex, for every file under a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def _verify(path: Path, digest: str, uri: str) -> None:
    if not path.exists():
        raise NotFound(f"no artifact {uri!r}", uri=uri)
    seen = file_digest(path)
    if seen != digest:
        raise DataCorrupted(f"{uri!r} has SHA-256 {seen[:12]}…, its record says {digest[:12]}…", uri=uri)
