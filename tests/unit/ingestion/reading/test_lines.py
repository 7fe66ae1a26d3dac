import json
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.reading.lines import read_lines, split_lines
from services.ingestion.reading.received import RAW_BYTES, Received, raw_text
from shared.rows import Reason, RowError

LIMIT = 8192


def read(data: bytes, piece: int = 64) -> list[Received]:
    return list(read_lines((data[start : start + piece] for start in range(0, len(data), piece)), LIMIT))


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.integers(1, 50))
def test_lines_are_the_same_however_the_file_is_cut(lines: list[bytes], piece: int) -> None:
    data = b"\n".join(lines)
    pieces = [data[start : start + piece] for start in range(0, len(data), piece)]
    assert [line for line, _ in split_lines(pieces, LIMIT)] == data.split(b"\n")


@given(st.integers(0, 3 * LIMIT), st.integers(50, 5000))
def test_a_long_line_is_measured_and_the_next_one_is_whole(length: int, piece: int) -> None:
    data = b"x" * length + b"\nnext"
    found = list(split_lines((data[start : start + piece] for start in range(0, len(data), piece)), LIMIT))
    assert [size for _, size in found] == [length, 4]
    assert found[1][0] == b"next"
    assert found[0][0] == b"x" * (length if length <= LIMIT else RAW_BYTES)


def test_one_endless_line_is_never_held() -> None:
    pieces = (b"x" * (1 << 20) for _ in range(1024))
    tracemalloc.start()
    (row,) = read_lines(pieces, LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(row.fields, RowError)
    assert (row.fields.reason, row.size, len(row.raw)) == (Reason.ROW_TOO_LONG, 1 << 30, RAW_BYTES)
    assert peak < 8 << 20


def test_lines_are_numbered_as_an_editor_numbers_them() -> None:
    assert [row.line for row in read(b"{}\n\n{}\r\n \t\n{}")] == [1, 3, 5]


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=4))
def test_every_json_object_is_read(fields: dict[str, object]) -> None:
    (row,) = read(json.dumps(fields, ensure_ascii=True).encode())
    assert row.fields == fields


@given(st.binary(max_size=200))
def test_no_line_of_any_bytes_ends_the_file(noise: bytes) -> None:
    good = b'{"a": 1}\n' * 100
    rows = read(good + noise.replace(b"\n", b"") + b"\n" + good)
    assert sum(row.fields == {"a": 1} for row in rows) >= 200
    assert len(rows) <= 201
    for row in rows:
        assert "\0" not in raw_text(row.raw)
        raw_text(row.raw).encode()
