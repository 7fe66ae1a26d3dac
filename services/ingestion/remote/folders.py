"""Files of this machine, below folders that the operator allows. No symbolic link is followed on the way."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENOTDIR
from pathlib import Path, PurePosixPath

from services.ingestion.remote.places import Found, check_count, is_finished
from services.ingestion.remote.uris import FileUri
from shared.errors import NotFound, PermissionDenied, Unavailable

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe without a writer would block


class Folder:
    """A file, or all files below a folder; `root` is the allowed folder above it."""

    def __init__(self, uri: FileUri, root: Path) -> None:
        self._uri, self._root = uri, root.resolve()
        self._parts = uri.path.relative_to(PurePosixPath(root)).parts

    def files(self) -> Iterator[Found]:
        """Regular files only; what is hidden or unfinished by its name is passed over."""
        if not self._uri.is_folder:
            with self._descriptor(self._parts) as file:
                yield _found(self._uri.path.name, _regular(file, self._uri.path.name))
            return
        with self._descriptor(self._parts) as folder:
            yield from sorted(_below(folder, str(self._uri.path)), key=lambda found: found.name)

    @contextmanager
    def open(self, found: Found) -> Iterator["LocalFile"]:
        parts = (*self._parts, *PurePosixPath(found.name).parts) if self._uri.is_folder else self._parts
        with self._descriptor(parts) as descriptor, open(descriptor, "rb", closefd=False) as file:
            yield LocalFile(file.fileno(), found)

    @contextmanager
    def _descriptor(self, parts: tuple[str, ...]) -> Iterator[int]:
        """A file or folder opened step by step, so that nobody can put a link in its way meanwhile."""
        path = "/".join(parts)
        try:
            held = os.open(self._root, FOLDER)
            for depth, part in enumerate(parts):
                last = depth == len(parts) - 1 and not self._uri.is_folder
                held = _step(held, part, FILE if last or depth >= len(self._parts) else FOLDER)
        except FileNotFoundError:
            raise NotFound(f"no file {self._uri.path}", uri=path) from None
        except OSError as error:
            raise PermissionDenied(f"{self._uri.path} can't be read: {_why(error)}", field="uri") from None
        try:
            yield held
        finally:
            os.close(held)


class LocalFile:
    """Reads a file, and notices when somebody changes it meanwhile."""

    def __init__(self, descriptor: int, found: Found) -> None:
        self._descriptor, self.found = descriptor, found
        self._check()

    def read(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        if not data:
            self._check()
        return data

    def _check(self) -> None:
        status = _regular(self._descriptor, self.found.name)
        if _found(self.found.name, status).identity != self.found.identity:
            raise Unavailable(f"{self.found.name} is being changed", retry_seconds=5)


def _regular(file: int, name: str) -> os.stat_result:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise PermissionDenied(f"{name} is no regular file", field="uri")
    return status


def _step(held: int, part: str, flags: int) -> int:
    try:
        return os.open(part, flags, dir_fd=held)
    finally:
        os.close(held)


def _below(folder: int, where: str) -> Iterator[Found]:
    count = 0
    for path, folders, names, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        folders[:] = [name for name in folders if is_finished(name)]
        for name in names:
            inner = PurePosixPath(path, name).as_posix()
            if not is_finished(inner):
                continue
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    count += 1
                    check_count(count, where)
                    yield _found(inner, status)


def _found(name: str, status: os.stat_result) -> Found:
    return Found(name, status.st_size, f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")


def _why(error: OSError) -> str:
    links = "symbolic links are not followed, and a folder's URI ends in /"
    return links if error.errno in (ELOOP, ENOTDIR) else error.strerror or str(error)
