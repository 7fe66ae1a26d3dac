"""gzip, zstd and zip: whole, damaged, cut, and hostile."""

import gzip
import io
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest
import zstandard

from services.ingestion.reading import archive, limits
from shared.errors import InvalidArgument
from tests.support.reading import bad, good, read, reading_of

ROW = b'{"text": "fine"}\n'


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(zipfile.ZipInfo(name) if "/" in name else name, data)
    return made.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zip": lambda data: zipped({"rows.jsonl": data}),
}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("piece", [1, 1 << 16])
def test_packed_rows_are_read(packing: str, piece: int) -> None:
    reading = reading_of(PACKERS[packing](ROW * 50), piece)
    assert len(good(list(reading))) == 50
    assert reading.format == f"jsonl.{packing}"


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_parts_that_were_packed_one_after_another_are_one_file(packing: str) -> None:
    pack = PACKERS[packing]
    data = pack(ROW[:5]) + pack(b"") + pack(ROW[5:]) + (bytes(300) if packing == "gz" else b"")
    for piece in (1, 1 << 16):
        assert len(read(data, piece)) == 1


@pytest.mark.parametrize("packing", PACKERS)
def test_what_was_cut_anywhere_is_refused(packing: str) -> None:
    data = PACKERS[packing](ROW * 20)
    for end in range(4, len(data), 3):
        with pytest.raises(InvalidArgument, match=r"cut|damaged"):
            read(data[:end])


@pytest.mark.parametrize("packing", PACKERS)
def test_a_flipped_bit_is_found(packing: str) -> None:
    data = bytearray(PACKERS[packing](ROW * 20 + b'{"text": "' + bytes(range(97, 123)) + b'"}'))
    middle = len(data) // 2 if packing != "zip" else 50
    data[middle] ^= 0x40
    with pytest.raises(InvalidArgument):
        read(bytes(data))


@pytest.mark.parametrize("packing", PACKERS)
def test_an_archive_inside_an_archive_is_refused(packing: str) -> None:
    for inner in PACKERS.values():
        with pytest.raises(InvalidArgument, match="inside an archive"):
            read(PACKERS[packing](inner(ROW)))


@pytest.mark.parametrize("packing", PACKERS)
def test_a_bomb_is_refused_in_little_memory(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 4 << 20)
    line = b'{"text": "' + b"x" * (1 << 20) + b'"}\n'
    data = PACKERS[packing](line * 40)
    tracemalloc.start()
    with pytest.raises(InvalidArgument, match="bomb"):
        read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36 << 20


def test_what_repeats_a_lot_is_no_bomb_while_it_is_small() -> None:
    assert len(read(gzip.compress(ROW * 20_000))) == 20_000


def test_members_are_read_by_their_own_formats_and_numbered_on() -> None:
    data = zipped(
        {"a/one.jsonl": ROW * 2 + b"{\n", "two.csv": b"text\nfine\n", "README.md": b"# words", "empty.txt": b""}
    )
    reading = reading_of(data)
    rows = list(reading)
    assert good(rows) == [{"text": "fine"}] * 3
    assert [row.line for row in rows] == [1, 2, 3, 5, 6]
    assert bad(rows) == [(3, "MALFORMED_JSON"), (6, "MALFORMED_ROW")]
    assert "a/one.jsonl line 3" in str(rows[2].fields)
    assert "README.md" in str(rows[4].fields)
    assert reading.format == "csv+jsonl+text.zip"


def test_what_systems_put_into_archives_is_no_member() -> None:
    data = zipped({"__MACOSX/._rows.jsonl": b"\0\1\2", ".DS_Store": b"\0", "rows.jsonl": ROW})
    assert len(read(data)) == 1


@pytest.mark.parametrize("name", ["/etc/rows.jsonl", "../rows.jsonl", "a/../../b.jsonl", "C:rows.jsonl", "a\nb.jsonl"])
def test_names_that_point_outside_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"points outside|has no name"):
        read(zipped({name: ROW}))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind: int) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        member = zipfile.ZipInfo("rows.jsonl")
        member.external_attr = (kind | 0o777) << 16
        packed.writestr(member, b"/etc/passwd")
    with pytest.raises(InvalidArgument, match="link or a device"):
        read(made.getvalue())


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """A change in the first entry of the list of members."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (8, b"\x01\0", "encrypted"),
        (10, b"\x0c\0", "method"),
        (24, struct.pack("<I", 1 << 31), "has 153 bytes"),
        (20, struct.pack("<I", 1 << 30), "overlaps|beyond its end"),
        (42, struct.pack("<I", 1 << 30), "damaged|cut"),
    ],
    ids=["encrypted", "method", "size", "packed size", "place"],
)
def test_members_that_lie_are_refused(offset: int, value: bytes, why: str) -> None:
    data = zipped({"one.jsonl": ROW * 9, "two.jsonl": ROW * 9})
    with pytest.raises(InvalidArgument, match=why):
        read(patched(data, offset, value))


def test_members_that_share_bytes_are_refused() -> None:
    data = zipped({"one.jsonl": ROW * 9, "two.jsonl": ROW * 9}, zipfile.ZIP_STORED)
    second = data.rindex(b"PK\x01\x02")
    same_place = data[: second + 42] + bytes(4) + data[second + 46 :]
    with pytest.raises(InvalidArgument, match="overlaps"):
        read(same_place)


def test_more_members_than_anyone_sends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(InvalidArgument, match="at most 3"):
        read(zipped({f"{number}.jsonl": ROW for number in range(4)}))


def test_a_list_of_members_that_says_it_is_huge_is_not_read() -> None:
    data = zipped({"rows.jsonl": ROW})
    end = data.rindex(b"PK\x05\x06")
    for value in (1 << 30, (1 << 32) - 2):
        lying = data[: end + 12] + struct.pack("<I", value) + data[end + 16 :]
        with pytest.raises(InvalidArgument):
            read(lying)


def test_an_archive_of_nothing_has_no_rows() -> None:
    assert read(zipped({})) == []
