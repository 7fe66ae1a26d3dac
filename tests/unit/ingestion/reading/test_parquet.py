"""Parquet: what it holds, and what it says of itself."""

import datetime
import decimal
import io
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.ingestion.reading import limits, parquet
from services.ingestion.reading.parquet_rows import rows_of
from shared.errors import InvalidArgument
from tests.support.reading import bad, good, read, reading_of


def packed(table: Any, **options: Any) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, **options)
    return made.getvalue()


TURNS = [{"role": "user", "content": "几点？"}, {"role": "assistant", "content": "三点。"}]


def test_rows_of_every_kind_of_column_are_read() -> None:
    table = pa.table(
        {
            "text": ["一", "two", None],
            "raw": pa.array([b"three", b"\xff", None], pa.binary()),
            "messages": [TURNS, TURNS, TURNS],
            "count": [1, 2, 3],
            "when": [datetime.date(2026, 1, 2)] * 3,
            "price": [decimal.Decimal("2"), decimal.Decimal("2.5"), None],
            "share": [float("nan"), 0.5, 1.0],
        }
    )
    reading = reading_of(packed(table, row_group_size=2))
    rows = list(reading)
    assert bad(rows) == [(2, "MALFORMED_ROW")]
    first = {
        "text": "一",
        "raw": "three",
        "messages": TURNS,
        "count": 1,
        "when": "2026-01-02",
        "price": 2,
        "share": None,
    }
    assert good(rows) == [first, {"messages": TURNS, "count": 3, "when": "2026-01-02", "share": 1.0}]
    assert (reading.format, reading.encoding) == ("parquet", "utf-8")


def lines_of(data: bytes) -> list[bytes]:
    """In this process, which is quicker."""
    return list(rows_of(io.BytesIO(data)))


def test_damaged_files_are_refused_wherever_they_are_damaged() -> None:
    data = packed(pa.table({"text": [f"row {number}" for number in range(200)], "label": ["a", "b"] * 100}))
    whole = lines_of(data)
    for at in range(4, len(data) - 4, 97):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        try:
            assert len(lines_of(damaged)) == len(whole)
        except (pa.ArrowException, OSError, ValueError, OverflowError):
            continue


def varint(number: int) -> bytes:
    """As Thrift's compact protocol writes a number."""
    rest, made = number << 1, bytearray()
    while rest > 0x7F:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*made, rest])


@pytest.mark.parametrize(
    ("rows", "times"), [(99, 1), (101, 1), (101, -1), (1 << 20, -1), (1 << 40, 1), (1 << 40, -1), ((1 << 62) - 1, -1)]
)
def test_a_file_that_lies_about_its_rows_is_refused(rows: int, times: int) -> None:
    data = packed(pa.table({"text": [f"row {number}" for number in range(100)]}))
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8].replace(varint(100), varint(rows), times)
    lying = data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises((pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)):
        lines_of(lying)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PAR1", "can't be read"),
        (b"PAR1" + bytes(100) + b"PAR1", "can't be read"),
        (packed(pa.table({"a": [1]}))[:-30], "can't be read"),
        (packed(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])), "names of their own"),
    ],
    ids=["magic", "zeros", "cut", "twice"],
)
def test_what_is_no_table_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        read(data)


def test_rows_that_take_too_much_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 400 << 20)
    monkeypatch.setattr(limits, "MOST_RATIO", 1 << 30)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 500), pa.array(["x" * (1 << 20)]))
    data = packed(pa.table({"text": long}), compression="zstd", dictionary_pagesize_limit=4 << 20)
    assert len(data) < 1 << 16
    with pytest.raises(InvalidArgument, match="more than 400 MiB of memory"):
        read(data)


def test_a_few_bytes_that_say_the_same_very_often_are_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FREE_BYTES", 1 << 18)
    with pytest.raises(InvalidArgument, match="bomb"):
        read(packed(pa.table({"text": pa.nulls(1_000_000, pa.string())}), compression="zstd"))


def test_a_reader_that_is_stuck_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "SILENT_SECONDS", 0.2)
    real = subprocess.Popen

    def stuck(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", "import time; time.sleep(60)"], **options)

    monkeypatch.setattr(subprocess, "Popen", stuck)
    with pytest.raises(InvalidArgument, match="stuck"):
        read(packed(pa.table({"a": [1]})))


def test_a_reader_that_dies_is_told_from_one_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def dying(command: list[str], **options: Any) -> Any:
        return real([sys.executable, "-c", 'print(\'{"text": "a"}\', flush=True); import os; os.abort()'], **options)

    monkeypatch.setattr(subprocess, "Popen", dying)
    with pytest.raises(InvalidArgument, match="ended in the middle"):
        read(packed(pa.table({"a": [1]})))
