"""In which character encoding a file is, and its text as UTF-8."""

import codecs
from collections.abc import Iterator
from functools import cache

from shared.errors import InvalidArgument

UTF8 = "utf-8"
MARKS = {
    b"\xef\xbb\xbf": UTF8,
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
"""Byte order marks, the longer ones first."""
GUESSED = ("gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "koi8_r")
"""Told apart by what they would say: each is a superset of its older relatives (GBK, Big5, Shift-JIS, Latin-1)."""
TAKEN = frozenset(
    codecs.lookup(name).name
    for name in (
        *GUESSED,
        *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii"),
        *("gbk", "gb2312", "hz", "big5", "shift_jis", "iso2022_jp", "euc_kr", "johab", "tis-620", "cp874"),
        *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))),
        *(f"cp{page}" for page in (437, 850, 852, 866, *range(1250, 1259))),
    )
)
"""What may be asked for. Python has codecs that are none of text (base64, zip), or run what they read."""
CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1a\x1b"))
BINARY_SHARE = 0.1
WEAK_BYTES = 8
WEAK_LINES = 0.1
"""Fewer foreign bytes, or in a smaller share of the lines: damaged UTF-8, not another encoding."""
PARTS = 5
MARK_NAME = "flywheel.mark"


def detect(head: bytes) -> str:
    """The encoding of a file that begins so. Raises InvalidArgument when it is no text."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    if wide := _wide(head):
        return wide
    if len(head.translate(None, CONTROLS)) < (1 - BINARY_SHARE) * len(head):
        raise InvalidArgument(
            "the file is no text: it is full of control bytes. Rows come as JSON Lines in UTF-8, JSON, CSV, Parquet, "
            "text or CoNLL columns",
            field="chunk",
        )
    return UTF8 if _is_utf8(head) else _guess(head)


def named(encoding: str, head: bytes) -> str:
    """The encoding that was asked for, by Python's name. Raises InvalidArgument when it is none, or not this file's."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        name = ""
    if name not in TAKEN:
        raise InvalidArgument(
            f"encoding={encoding!r} is not known; utf-8, utf-16, gb18030, big5, shift_jis, latin-1 and their like are",
            field="encoding",
        )
    if name in ("utf-16", "utf-32"):
        name = next((found for mark, found in MARKS.items() if head.startswith(mark)), f"{name}-le")
    name = UTF8 if name in ("utf-8-sig", "ascii") else name
    text, broken = _decoded(head, name)
    if _is_other(head, name) or (broken >= WEAK_BYTES and broken > WEAK_LINES * text.count("\n")):
        found = detect(head)
        raise InvalidArgument(
            f"encoding={encoding!r}: the file is not in it; it looks like {found}. Leave the encoding out to have it "
            "found",
            field="encoding",
        )
    return name


def _is_other(head: bytes, name: str) -> bool:
    """Without doubt: what is UTF-8 beyond ASCII is nothing else, and only UTF-16 and UTF-32 are full of zeros."""
    wide = name.startswith(("utf-16", "utf-32"))
    if wide or name == UTF8:
        found = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), _wide(head) or UTF8)
        return wide != (found != UTF8) and (not wide or (b"\0" not in head and not _decoded(head, UTF8)[1]))
    return not head.isascii() and not _decoded(head, UTF8)[1]


def to_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text without its byte order mark. What can't be decoded becomes bytes that are no UTF-8, so that the row it
    stands in is found out, and no other."""
    if encoding == UTF8:
        yield from _without_mark(pieces)
        return
    decoder = codecs.getincrementaldecoder(encoding)(_marking())
    begun = False
    for piece in pieces:
        text = decoder.decode(piece)
        if text:
            yield (text if begun else text.removeprefix("\ufeff")).encode(UTF8, "surrogatepass")
            begun = True
    if rest := decoder.decode(b"", final=True):
        yield rest.encode(UTF8, "surrogatepass")


def _without_mark(pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= 3:
            break
    yield head.removeprefix(b"\xef\xbb\xbf")
    yield from pieces


@cache
def _marking() -> str:
    """Registers, once, the way in which undecodable bytes are marked: by half of a surrogate pair."""

    def mark(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeDecodeError):
            raise error
        return "\udc80", error.end

    codecs.register_error(MARK_NAME, mark)
    return MARK_NAME


def _decoded(head: bytes, encoding: str) -> tuple[str, int]:
    """The text, and in how many places it could not be read."""
    text = codecs.getincrementaldecoder(encoding)(_marking()).decode(head)
    return text, text.count("\udc80")


def _wide(head: bytes) -> str:
    """UTF-16 without a mark: every other byte of what is written in ASCII is zero."""
    even, odd, half = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if half and max(even, odd) > 0.2 * half and min(even, odd) < 0.02 * half:
        name = "utf-16-le" if odd > even else "utf-16-be"
        return name if not _decoded(head, name)[1] else ""
    return ""


def _is_utf8(head: bytes) -> bool:
    """With some damaged lines at most."""
    text, broken = _decoded(head, UTF8)
    if not broken:
        return True
    lines = text.splitlines()
    damaged = sum("\udc80" in line for line in lines)
    foreign = sum(not line.isascii() and "\udc80" not in line for line in lines)
    return broken < WEAK_BYTES or damaged < WEAK_LINES * len(lines) or foreign > damaged


def _guess(head: bytes) -> str:
    """Of the whole, or what most of its parts say: a damaged line rules out every encoding."""
    if found := _best(head):
        return found
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    step = -(-len(lines) // PARTS)
    parts = [_best(b"\n".join(lines[start : start + step])) for start in range(0, len(lines), step)]
    return max(filter(None, parts), key=parts.count, default=UTF8)


def _best(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data, cp_isolation=list(GUESSED)).best()
    return best.encoding if best else ""
