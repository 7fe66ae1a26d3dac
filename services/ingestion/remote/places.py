"""Places that files are fetched from, one interface for all of them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from shared.errors import FailedPrecondition

MAX_FILES = 100_000
"""Below one folder or prefix; more are no import but a migration."""
UNFINISHED = (".partial", ".part", ".tmp", ".crdownload", ".filepart", "~")
"""Names that writers give to what they are not done with."""


@dataclass(frozen=True)
class Found:
    """A file of a place: its path inside it, and what tells it from what lay there before.

    `size` is None and `identity` empty where only fetching tells.
    """

    name: str
    size: int | None
    identity: str


class Stream(Protocol):
    """The bytes of a file, once. `found` is the file as it is now."""

    found: Found

    def read(self, size: int) -> bytes:
        """At most so many bytes, empty at the end. Raises Unavailable when the place fails meanwhile."""


class Place(Protocol):
    """Raises NotFound for what is not there, Unavailable while it does not answer, PermissionDenied where it won't."""

    def files(self) -> Iterator[Found]:
        """Every file, in the order of their names; one where the URI names a file."""

    def open(self, found: Found) -> AbstractContextManager[Stream]:
        """Raises Unavailable when it is not the same file any more."""


def is_finished(name: str) -> bool:
    """Whether a path looks like one that its writer has finished; hidden files and folders do not."""
    parts = name.split("/")
    if not name.isprintable():  # or not in UTF-8: no URI could name it
        return False
    return not name.endswith(UNFINISHED) and not any(part.startswith(".") for part in parts)


def check_count(count: int, where: str) -> None:
    """Raises FailedPrecondition."""
    if count > MAX_FILES:
        raise FailedPrecondition(f"more than {MAX_FILES:,} files lie below {where}; name a smaller part of it")
