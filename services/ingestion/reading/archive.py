"""zip: its members one after another, once it is sure that they are files, and no more than they say."""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from services.ingestion.reading.limits import PIECE_BYTES, Budget
from shared.errors import InvalidArgument

MOST_MEMBERS = 1000
DIRECTORY_BYTES = 4 << 20
"""Of the list of members, all of which is held: enough for thousands."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1
LOCAL_HEADER = 30
JUNK = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Archive:
    """An open zip. Raises InvalidArgument for whatever is no plain archive of files."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        try:
            self._zip = zipfile.ZipFile(_Bounded(file))
        except DAMAGED as error:
            raise _damaged(error) from None
        self.members = [member for member in self._zip.infolist() if not member.is_dir() and not _is_junk(member)]
        if len(self._zip.infolist()) > MOST_MEMBERS:
            raise _refused(f"it has {len(self._zip.infolist())} members; at most {MOST_MEMBERS} are taken")
        for member in self.members:
            _check(member)
        _check_apart(self._zip.infolist(), size)

    def pieces(self, member: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
        """The bytes of a member. Raises InvalidArgument when it is damaged, or more than it says."""
        budget.came(member.compress_size)
        made = 0
        try:
            with self._zip.open(member) as content:
                while piece := content.read(PIECE_BYTES):
                    made += len(piece)
                    budget.made(len(piece))
                    yield piece
        except DAMAGED as error:
            raise _damaged(error, member.filename) from None
        if made != member.file_size:
            raise _refused(f"the member {member.filename[:200]!r} has {made} bytes, not {member.file_size}")


class _Bounded(io.RawIOBase):
    """The file, of which nobody reads a lot at once: zipfile believes what an archive says of its own size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES:
            raise _refused(f"its list of members has {size} bytes; at most {DIRECTORY_BYTES} are taken")
        data = self._file.read(DIRECTORY_BYTES + 1 if size < 0 else size)
        if len(data) > DIRECTORY_BYTES:
            raise _refused("its end is not where it should be")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _check(member: zipfile.ZipInfo) -> None:
    name = member.orig_filename
    if name.startswith(("/", "\\")) or name[1:2] == ":" or ".." in name.replace("\\", "/").split("/"):
        raise _refused(f"the member {name[:200]!r} points outside of it")
    if not name.isprintable():
        raise _refused(f"the member {name[:200]!r} has no name that could be a file's")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind and kind != stat.S_IFREG:
        raise _refused(f"the member {name[:200]!r} is a link or a device, not a file")
    if member.flag_bits & ENCRYPTED:
        raise _refused(f"the member {name[:200]!r} is encrypted; send it without a password")
    if member.compress_type not in METHODS:
        raise _refused(f"the member {name[:200]!r} is packed by a method other than deflate")


def _check_apart(members: list[zipfile.ZipInfo], size: int) -> None:
    """Members that share bytes make a small bomb large."""
    end = 0
    for member in sorted(members, key=lambda one: one.header_offset):
        if member.header_offset < end:
            raise _refused(f"the member {member.filename[:200]!r} overlaps another")
        end = member.header_offset + LOCAL_HEADER + member.compress_size
    if end > size:
        raise _refused("its members reach beyond its end; it was cut")


def _is_junk(member: zipfile.ZipInfo) -> bool:
    return member.filename.startswith(JUNK[0]) or member.filename.rsplit("/", 1)[-1] in JUNK


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"the zip archive is not taken: {why}", field="chunk")


def _damaged(error: Exception, member: str = "") -> InvalidArgument:
    where = f" in {member[:200]!r}" if member else ""
    return InvalidArgument(f"the zip archive is damaged or was cut{where} ({error}); pack it again", field="chunk")
