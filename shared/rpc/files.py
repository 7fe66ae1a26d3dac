"""Files that may be replaced while a process runs."""

from pathlib import Path

from shared.errors import InvalidArgument

Stamp = tuple[tuple[int, int, int] | None, ...]


def stamp(*paths: str) -> Stamp:
    """Changes when one of the files is written or replaced."""
    return tuple(_stamp(path) for path in paths)


def read(path: str, setting: str) -> bytes:
    """Raises InvalidArgument naming the setting and the file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{setting}={path!r}: {error.strerror}", field=setting) from None


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
