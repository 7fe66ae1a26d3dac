"""Where artifacts lie, through fsspec: a folder on this machine, or an S3-protocol bucket.

Both write a file whole or not at all, and answer with our errors.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast

import fsspec

from shared.errors import InvalidArgument, NotFound, Unavailable
from shared.storage.ids import new_id

RETRY_SECONDS = 5.0
QUICK = {"retries": {"max_attempts": 1}, "connect_timeout": 5, "read_timeout": 30}
"""s3fs tries again on its own; botocore's tries inside of those would make an outage last minutes."""


class Store(Protocol):
    """Files by their path inside the store. Paths are checked by the caller."""

    def create(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Writes a file, visible whole when the block ends, and not at all when it raises."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Reads a file. Raises NotFound."""

    def exists(self, path: str) -> bool: ...

    def list(self, path: str) -> list[str]:
        """Names directly under a folder, sorted; empty when there is none."""

    def delete(self, path: str) -> None:
        """Removes a file or folder; quiet when it is gone already."""

    def here(self, path: str) -> Path | None:
        """The file or folder on this machine, if the store is on it."""


def open_store(url: str, endpoint: str = "") -> Store:
    """A store at a folder or at `s3://bucket/prefix`. Raises InvalidArgument."""
    if "://" not in url or url.startswith("file://"):
        return FolderStore(Path(url.removeprefix("file://")))
    try:
        options: dict[str, Any] = {"client_kwargs": {"endpoint_url": endpoint}} if endpoint else {}
        files, root = fsspec.core.url_to_fs(url, config_kwargs=QUICK, **options)
    except (ValueError, ImportError) as error:
        raise InvalidArgument(f"FLYWHEEL_ARTIFACTS_URL={url!r}: {error}", field="FLYWHEEL_ARTIFACTS_URL") from None
    return ObjectStore(files, root)


class FolderStore:
    """A folder on this machine; a file is written aside and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._root.mkdir(parents=True, exist_ok=True)
        self._files = fsspec.filesystem("file")

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}.{new_id('part')}")
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        try:
            with (self._root / path).open("rb") as file:
                yield file
        except FileNotFoundError:
            raise NotFound(f"no artifact {path!r}", uri=path) from None

    def exists(self, path: str) -> bool:
        return (self._root / path).exists()

    def list(self, path: str) -> list[str]:
        folder = self._root / path
        return sorted(child.name for child in folder.iterdir()) if folder.is_dir() else []

    def delete(self, path: str) -> None:
        if self.exists(path):
            self._files.rm(str(self._root / path), recursive=True)

    def here(self, path: str) -> Path:
        return self._root / path


class ObjectStore:
    """A bucket; an object becomes visible when its upload is completed. An outage raises Unavailable."""

    def __init__(self, files: Any, root: str) -> None:
        self._files, self._root = files, root.rstrip("/")

    @contextmanager
    def create(self, path: str) -> Iterator[BinaryIO]:
        with answering():
            # fsspec's transactions are one for all threads, so each file is committed by itself.
            file = self._files._open(self._at(path), "wb", autocommit=False)
            try:
                with file:
                    yield cast(BinaryIO, file)
            except BaseException:
                file.discard()
                raise
            file.commit()

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        try:
            with answering(), self._files.open(self._at(path), "rb") as file:
                yield cast(BinaryIO, file)
        except FileNotFoundError:
            raise NotFound(f"no artifact {path!r}", uri=path) from None

    def exists(self, path: str) -> bool:
        with answering():
            self._files.invalidate_cache()
            return bool(self._files.exists(self._at(path)))

    def list(self, path: str) -> list[str]:
        with answering():
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._at(path), detail=False)
            except FileNotFoundError:
                return []
        return sorted(PurePosixPath(name).name for name in found)

    def delete(self, path: str) -> None:
        if self.exists(path):
            with answering():
                self._files.rm(self._at(path), recursive=True)

    def here(self, path: str) -> None:
        return None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


OURS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def answering(what: str = "the artifact store") -> Iterator[None]:
    """Turns what an absent or failing store raises into Unavailable; a full disk on this side stays what it is."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, BotoCoreError, ClientError) as error:
        if isinstance(error, OSError) and error.errno in OURS:
            raise
        raise Unavailable(f"{what} does not answer: {error}", RETRY_SECONDS) from error
