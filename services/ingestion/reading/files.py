"""A file of rows, whatever its format, packing and encoding: what uploads, imports and dry runs read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.ingestion.reading.archive import Archive
from services.ingestion.reading.cells import typed
from services.ingestion.reading.columns import read_columns
from services.ingestion.reading.compression import UNPACKERS
from services.ingestion.reading.content import Content, Stream
from services.ingestion.reading.documents import read_document
from services.ingestion.reading.encodings import UTF8, detect, named, to_utf8
from services.ingestion.reading.limits import Budget
from services.ingestion.reading.lines import read_lines
from services.ingestion.reading.parquet import read_parquet
from services.ingestion.reading.received import Received
from services.ingestion.reading.shapes import shaped
from services.ingestion.reading.sniffing import (
    ENDINGS,
    HEAD_BYTES,
    PARQUET,
    READ,
    SHAPES,
    check_format,
    ending_of,
    format_of,
    packing_of,
)
from services.ingestion.reading.tables import read_table
from services.ingestion.reading.texts import read_paragraphs, read_text
from shared.errors import InvalidArgument
from shared.rows import Reason, RowError

Reader = Callable[[Iterable[bytes], int], Iterator[Received]]
READERS: dict[str, Reader] = {
    "jsonl": read_lines,
    "json": read_document,
    "csv": read_table,
    "tsv": lambda pieces, limit: read_table(pieces, limit, "\t"),
    "text": read_text,
    "paragraphs": read_paragraphs,
    "conll": read_columns,
}
"""Of text in UTF-8."""


@dataclass(frozen=True)
class Told:
    """What the sender says of the file; what is empty is found out."""

    format: str = ""
    encoding: str = ""
    filename: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The product's name of a field by ours, for tables whose cells hold lists."""


class Reading:
    """The rows of a file, read once. `format` and `encoding` are known from the first row on."""

    def __init__(self, content: Content, told: Told, limit: int, folder: Path) -> None:
        """`limit` is in bytes a row; `folder` is for what has to lie on a disk while it is read."""
        self.format = self.encoding = ""
        self._content, self._told, self._limit, self._folder = content, told, limit, folder

    def __iter__(self) -> Iterator[Received]:
        """Raises InvalidArgument when the file is not what it is said to be, holds no rows, is damaged or a bomb."""
        check_format(self._told.format)
        packing = packing_of(self._content.head(HEAD_BYTES))
        if packing == "zip":
            return self._archived()
        if not packing:
            return self._plain(self._content, self._told.filename)
        unpacked = Stream(UNPACKERS[packing](self._content.pieces(), Budget()), self._folder)
        _refuse_nested(unpacked, "the file")
        return self._plain(unpacked, self._told.filename, packing)

    def _plain(self, content: Content, filename: str, packing: str = "") -> Iterator[Received]:
        """The rows of what is not packed, or not any more."""
        head = content.head(HEAD_BYTES)
        if head.startswith(PARQUET):
            return self._of_parquet(content, packing)
        if self._told.format == "parquet":
            raise InvalidArgument("format='parquet': the file does not begin as Parquet does", field="format")
        encoding = named(self._told.encoding, head) if self._told.encoding else detect(head)
        text = Stream(to_utf8(content.pieces(), encoding), self._folder)
        found = format_of(text.head(HEAD_BYTES), self._told.format, filename)
        return self._shaped(READERS[found](text.pieces(), self._limit), found, packing, encoding)

    def _of_parquet(self, content: Content, packing: str) -> Iterator[Received]:
        if self._told.format not in ("", "parquet", *SHAPES):
            raise InvalidArgument(f"format={self._told.format!r}: the file is Parquet", field="format")
        with content.whole() as file:
            yield from self._shaped(read_parquet(file, self._limit), "parquet", packing, UTF8)

    def _shaped(self, rows: Iterator[Received], found: str, packing: str, encoding: str) -> Iterator[Received]:
        shape = self._told.format if self._told.format in SHAPES else ""
        if found in ("json", "jsonl", "parquet"):
            shape, rows = shaped(rows, shape)
        self._tell(shape or found, packing, encoding)
        return typed(rows, self._told.fields) if found in ("csv", "tsv") else rows

    def _tell(self, found: str, packing: str, encoding: str) -> None:
        """Of an archive's members every format and encoding once, as in csv+jsonl.zip."""
        kinds = {*filter(None, self.format.removesuffix(f".{packing}").split("+")), found}
        self.format = "+".join(sorted(kinds)) + (f".{packing}" if packing else "")
        self.encoding = "+".join(sorted({*filter(None, self.encoding.split("+")), encoding}))

    def _archived(self) -> Iterator[Received]:
        with self._content.whole() as file:
            size = file.seek(0, 2)
            archive, budget, before = Archive(file, size), Budget(), 0
            named_so = [member for member in archive.members if ending_of(member.filename)]
            for member in archive.members:
                if named_so and not ending_of(member.filename):
                    before += 1
                    yield _passed_over(before, member.filename)
                    continue
                content = Stream(archive.pieces(member, budget), self._folder)
                _refuse_nested(content, f"the member {member.filename[:200]!r}")
                last = 0
                for row in self._plain(content, member.filename, "zip"):
                    last = row.line
                    yield _of_member(row, before, member.filename)
                before += last


def _of_member(row: Received, before: int, member: str) -> Received:
    """Numbered on through the archive; what is wrong with it names the member and the line there."""
    if isinstance(row.fields, RowError):
        error = RowError(row.fields.reason, row.fields.field, f"{member} line {row.line}: {row.fields.message}")
        return row._replace(line=before + row.line, fields=error)
    return row._replace(line=before + row.line) if before else row


def _passed_over(line: int, member: str) -> Received:
    message = f"{member}: passed over, its name does not end in {', '.join(sorted(ENDINGS))}"
    return Received(line, RowError(Reason.MALFORMED_ROW, "", message), member.encode(errors="replace"), 0)


def _refuse_nested(content: Content, what: str) -> None:
    if packing_of(content.head(HEAD_BYTES)):
        raise InvalidArgument(f"{what} is an archive inside an archive; unpack it once. {READ}", field="chunk")
