"""In which format a file is: by its first bytes, then by what it holds, then by its name."""

import re
from collections.abc import Sequence

from services.ingestion.reading.columns import holds_tags
from services.ingestion.reading.tables import delimiter_of
from shared.errors import InvalidArgument

HEAD_BYTES = 64 << 10
FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "text", "paragraphs", "conll", "sharegpt", "alpaca")
SHAPES = ("sharegpt", "alpaca")
"""Formats that say what a JSON row holds, not how rows lie in the file."""
PACKED = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
PARQUET = b"PAR1"
OTHERS = {
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"%PDF": "a PDF",
    b"SQLite format 3": "a SQLite database",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x93NUMPY": "a NumPy array",
    b"\x7fELF": "a program",
}
ENDINGS = {
    **dict.fromkeys(("jsonl", "ndjson", "jsonlines"), "jsonl"),
    **dict.fromkeys(("tsv", "tab"), "tsv"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
    **dict.fromkeys(("txt", "text"), "text"),
    **dict.fromkeys(("conll", "conll03", "bio", "iob", "iob2", "bioes"), "conll"),
    "json": "json",
    "csv": "csv",
}
"""Format by the end of a file's name."""
PACKED_ENDINGS = ("gz", "gzip", "zst", "zstd", "zip")
READ = "Rows come as JSON Lines, JSON, CSV, TSV, Parquet, text or CoNLL columns, also in gzip, zstd or zip"
LOOKED_AT = 20
"""Lines."""
NAME_WORDS = 2
"""More of them between delimiters are a sentence, not the name of a column."""
LIST_OF_ROWS = re.compile(rb'\{\s*"(?!messages"|conversations")[^"]*"\s*:\s*\[\s*\{')
"""How a document begins that holds its rows in a list, and is written in one long line."""


def packing_of(head: bytes) -> str:
    """gz, zst or zip; empty for a file that is not packed. Raises InvalidArgument for what holds no rows."""
    for mark, what in OTHERS.items():
        if head.startswith(mark):
            raise InvalidArgument(f"the file is {what}. {READ}", field="chunk")
    return next((packing for mark, packing in PACKED.items() if head.startswith(mark)), "")


def ending_of(filename: str) -> str:
    """The format that a file's name promises, whatever it is packed in; empty when it promises none."""
    parts = filename.lower().rsplit("/", 1)[-1].split(".")[1:]
    while parts and parts[-1] in PACKED_ENDINGS:
        parts.pop()
    return ENDINGS.get(parts[-1], "") if parts else ""


def check_format(asked: str) -> None:
    """Raises InvalidArgument for a format that nobody reads."""
    if asked and asked not in FORMATS:
        raise InvalidArgument(f"format={asked!r} is not known; it is one of {', '.join(FORMATS)}", field="format")


def format_of(head: bytes, asked: str, filename: str) -> str:
    """The format of a text that begins so, in UTF-8.

    What is asked for wins over the name, and the name over a guess; neither wins over what can't be mistaken.
    Raises InvalidArgument when what is asked for can't be.
    """
    lines = _lines(head)
    ending = ending_of(filename)
    if not lines:
        found = asked or ending
        return found if found and found not in (*SHAPES, "parquet") else "jsonl"
    json_like = _json_like(lines)
    if json_like == "jsonl" and len(lines) == 1 and "json" in (asked, ending):
        json_like = "json"  # one line is both
    guess = json_like or _guess(lines, head)
    if asked:
        return _asked(asked, json_like, guess)
    if json_like or ending in ("", "parquet"):
        return guess
    if ending in ("json", "jsonl"):
        return "jsonl"
    return guess if ending == "text" and guess in ("conll", "paragraphs") else ending


def _asked(asked: str, json_like: str, guess: str) -> str:
    if asked in SHAPES and json_like:
        return json_like
    wrong = asked != json_like if json_like or asked in ("json", "jsonl", *SHAPES) else False
    if wrong or asked == "parquet" or (asked == "conll" and guess != "conll"):
        raise InvalidArgument(
            f"format={asked!r}: the file looks like {guess}. Leave the format out to have it found", field="format"
        )
    return asked


def _json_like(lines: Sequence[bytes]) -> str:
    """json, jsonl, or empty for what is neither."""
    first = lines[0].strip()
    rows = sum(line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}") for line in lines[:LOOKED_AT])
    if first.startswith(b"["):
        if not first[1:].strip(b" \t,]") or first[1:].lstrip().startswith(b"{"):
            return "json"
        return "jsonl" if first.startswith(b'["') and first.endswith(b"]") else ""
    if not first.startswith(b"{"):
        return "jsonl" if 2 * rows >= len(lines[:LOOKED_AT]) else ""
    if first.endswith(b"}") or len(lines) == 1 or 2 * rows >= len(lines[:LOOKED_AT]):
        return "json" if len(lines) == 1 and not first.endswith(b"}") and LIST_OF_ROWS.match(first) else "jsonl"
    return "json"


def _guess(lines: Sequence[bytes], head: bytes) -> str:
    texts = [line.decode(errors="replace") for line in lines]
    if holds_tags(texts):
        return "conll"
    delimiter = delimiter_of(texts)
    if delimiter and all(len(name.split()) <= NAME_WORDS for name in texts[0].split(delimiter)):
        return "tsv" if delimiter == "\t" else "csv"
    blocks = re.split(rb"\n[ \t\r]*\n+", head.strip())
    return "paragraphs" if len(blocks) > 1 and any(b"\n" in block for block in blocks) else "text"


def _lines(head: bytes) -> list[bytes]:
    """That are not blank; without the last one where it may be cut."""
    found = [line for line in head.split(b"\n") if line.strip()]
    return found[:-1] if len(head) >= HEAD_BYTES and len(found) > 1 else found
