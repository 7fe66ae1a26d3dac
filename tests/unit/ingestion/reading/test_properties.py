"""What holds for every file: any bytes are rows or InvalidArgument, and what was written comes back."""

import csv
import gzip
import io
import json
from contextlib import suppress
from itertools import islice

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingestion.reading.lines import fields_of, read_lines, strict_fields
from services.ingestion.reading.sniffing import FORMATS
from shared.errors import InvalidArgument
from shared.rows import RowError
from tests.fuzz.readers import cases, check
from tests.support.reading import bad, good, read

LIMIT = 500
FRAGMENTS = [
    *(b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b" ", b'"a"', b'"a":', b"1", b"-", b"0", b".", b"e", b"9" * 19),
    *(b"true", b"null", b"NaN", b"-Infinity", b"1e400", b"18446744073709551616", b"-9223372036854775809", b"\\u0000"),
    *(b"\\ud83d", b"\\ude00", b"\xff", b"\xe4\xb8\xad", b"\t", b"\0", b"\x7f", b"{}", b'{"a": 1}', b"\xef\xbb\xbf"),
]
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), min_size=1, max_size=30)


def told(fields: object) -> object:
    """What can be compared: a reason with its message, or the fields with the types of their values."""
    return (fields.reason, fields.message) if isinstance(fields, RowError) else repr(fields)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
def test_the_fast_decoder_says_what_the_strict_one_says(line: bytes) -> None:
    expected = told(strict_fields(line, len(line), LIMIT))
    assert told(fields_of(line, len(line), LIMIT)) == expected
    if line.strip() and b"\n" not in line:
        assert told(next(read_lines([line], LIMIT)).fields) == expected


@settings(max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | texts, lambda one: st.lists(one)))
def test_every_value_of_json_is_read_as_the_strict_decoder_reads_it(value: object) -> None:
    line = json.dumps({"a": value}).encode()
    assert told(fields_of(line, len(line), 1 << 20)) == told(strict_fields(line, len(line), 1 << 20))


@pytest.mark.parametrize("line", [b'{"a":' * depth + b"1" + b"}" * depth for depth in (200, 600, 1020, 1030, 5000)])
def test_depth_is_judged_by_the_strict_decoder(line: bytes) -> None:
    assert isinstance(fields_of(line, len(line), 1 << 20), RowError) == isinstance(
        strict_fields(line, len(line), 1 << 20), RowError
    )


@settings(max_examples=120)
@given(
    st.lists(
        st.sampled_from([*FRAGMENTS, b"\n", b"\n\n", b"a,b", b'"a\n', b"x O", b"PK\x03\x04"]) | st.binary(max_size=20)
    ).map(b"".join),
    st.sampled_from(["", *FORMATS]),
    st.integers(1, 20),
)
def test_any_bytes_are_rows_or_an_invalid_argument(data: bytes, asked: str, piece: int) -> None:
    for size in (piece, 1 << 16):
        with suppress(InvalidArgument):
            read(data, size, LIMIT, format=asked)


rows = st.lists(st.fixed_dictionaries({"text": texts, "label": texts}), min_size=1, max_size=8)


@settings(max_examples=30)
@given(rows, st.integers(1, 50))
def test_what_is_written_as_json_comes_back(given_rows: list[dict[str, str]], piece: int) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in given_rows).encode()
    for data in (
        lines,
        gzip.compress(lines),
        zstandard.compress(lines),
        lines.decode().encode("utf-16"),
        json.dumps(given_rows, ensure_ascii=False).encode(),
        json.dumps({"rows": given_rows}, indent=1).encode(),
    ):
        assert good(read(data, piece)) == given_rows


@settings(max_examples=30)
@given(rows, st.integers(1, 50), st.sampled_from([",", "\t", ";", "|"]))
def test_what_is_written_as_a_table_comes_back(given_rows: list[dict[str, str]], piece: int, delimiter: str) -> None:
    made = io.StringIO()
    writer = csv.DictWriter(made, ["text", "label"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(given_rows)
    found = read(made.getvalue().encode(), piece, format="tsv" if delimiter == "\t" else "csv")
    assert (good(found), bad(found)) == (given_rows, [])


words = st.text(st.characters(whitelist_categories=("L", "N")), min_size=1, max_size=6)
tagged = st.lists(st.tuples(words, st.sampled_from(["O", "B-PER", "I-PER"])), min_size=1, max_size=6)


@settings(max_examples=30)
@given(st.lists(tagged, min_size=1, max_size=5), st.integers(1, 50))
def test_what_is_written_in_columns_comes_back(sentences: list[list[tuple[str, str]]], piece: int) -> None:
    data = "\n\n".join("\n".join(f"{word} {tag}" for word, tag in sentence) for sentence in sentences).encode()
    assert good(read(data, piece, format="conll")) == [
        {"tokens": [word for word, _ in sentence], "tags": [tag for _, tag in sentence]} for sentence in sentences
    ]


def test_damaged_files_surprise_no_reader() -> None:
    for case in islice(cases(seed=7), 150):
        if not case.data.startswith(b"PAR1"):
            check(case)
