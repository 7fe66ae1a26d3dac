"""Every format of text: what it holds, what is wrong with it, and how it is told from the others."""

import csv
import io
import json
from pathlib import Path

import pytest

from services.ingestion.reading.content import Stream
from services.ingestion.reading.files import Reading, Told
from shared.errors import InvalidArgument
from tests.support.reading import bad, good, read, reading_of

ROWS = [{"text": 'fine, "really"\nfine [{', "label": "good"}, {"text": "不好 \\", "label": "bad"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
LIST = json.dumps(ROWS, indent=1).encode()
INSIDE = json.dumps({"version": 1, "languages": ["en"], "data": ROWS, "more": {"x": [1]}}, indent=2).encode()


def table(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    made = io.StringIO()
    writer = csv.DictWriter(made, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return made.getvalue().encode()


CONLL = b"""-DOCSTART- -X- O

# a comment
EU NNP B-ORG
rejects VBZ O

# 5 O
# 2 B-X
"""


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (LINES, "jsonl"),
        (LIST, "json"),
        (json.dumps(ROWS).encode(), "json"),
        (INSIDE, "json"),
        (table(ROWS), "csv"),
        (table(ROWS, "\t"), "tsv"),
        (table(ROWS, ";"), "csv"),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_the_same_rows_come_out_of_every_format_that_can_hold_them(data: bytes, found: str, piece: int) -> None:
    reading = reading_of(data, piece)
    assert good(list(reading)) == ROWS
    assert (reading.format, reading.encoding) == (found, "utf-8")


def test_columns_of_tokens_and_tags_become_rows() -> None:
    reading = reading_of(CONLL)
    rows = list(reading)
    assert good(rows) == [
        {"tokens": ["EU", "rejects"], "tags": ["B-ORG", "O"]},
        {"tokens": ["#", "#"], "tags": ["O", "B-X"]},
    ]
    assert [row.line for row in rows] == [3, 7]
    assert reading.format == "conll"


def test_numbered_tokens_and_ideographic_spaces_are_taken_as_they_are() -> None:
    (row,) = read("1\t我\tO\n2\t　\tO\n3\t們\tB-PER\n".encode())
    assert row.fields == {"tokens": ["我", "　", "們"], "tags": ["O", "O", "B-PER"]}


def test_a_token_without_a_tag_and_a_row_without_end_are_named() -> None:
    data = b"a O\nb O\n\nlonely\nc O\n\n" + b"d O\n" * 40
    rows = read(data, limit=100, format="conll")
    assert bad(rows) == [(4, "MALFORMED_ROW"), (7, "ROW_TOO_LONG")]
    assert len(good(rows)) == 1


def test_text_is_a_row_a_line_or_a_paragraph() -> None:
    lines = b"one line\r\n\r\nand one more\r\n"
    assert good(read(lines)) == [{"text": "one line"}, {"text": "and one more"}]
    paragraphs = "一行\n又一行\n\n\n另外一段\n".encode()
    rows = read(paragraphs)
    assert [row.line for row in rows] == [1, 5]
    assert good(rows) == [{"text": "一行\n又一行"}, {"text": "另外一段"}]
    assert len(read(paragraphs, format="text")) == 3
    assert len(read(lines, format="paragraphs")) == 2
    assert bad(read(b"x" * 300 + b"\n\n" + b"y\n" * 200, limit=100, format="paragraphs")) == [
        (1, "ROW_TOO_LONG"),
        (3, "ROW_TOO_LONG"),
    ]


def test_published_conversations_become_ours() -> None:
    turns = [{"from": "human", "value": "When?"}, {"from": "gpt", "value": "Now."}]
    (row,) = good(read(json.dumps([{"conversations": turns, "system": "Be brief."}]).encode()))
    assert isinstance(row, dict)
    assert row["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "Now."},
    ]
    alpaca = {"instruction": "Translate.", "input": "猫", "output": "cat"}
    reading = reading_of(json.dumps(alpaca).encode())
    (row,) = good(list(reading))
    assert row == {**alpaca, "prompt": "Translate.\n\n猫", "response": "cat"}
    assert reading.format == "alpaca"
    odd = [{"conversations": "x"}, {"conversations": [1, {"from": 3, "value": "y"}]}, {"text": "z"}]
    assert len(good(read(json.dumps(odd).encode(), format="sharegpt"))) == 3


@pytest.mark.parametrize(
    ("data", "bads", "goods"),
    [
        (
            b'[{"a": 1}, {"a": }, 5, , {"a": 2}]',
            [(2, "MALFORMED_JSON"), (3, "NOT_AN_OBJECT"), (4, "MALFORMED_JSON")],
            2,
        ),
        (b'[{"a": "' + b"x" * 200 + b'"}, {"a": 1}]', [(1, "ROW_TOO_LONG")], 1),
        (b'[{"a": "\xff"}, {"a": 1}]', [(1, "BAD_ENCODING")], 1),
        (b'[{"a": NaN}, {"a": 1}]', [(1, "NON_FINITE_NUMBER")], 1),
        (b"[{}, " + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"]", [(2, "ROW_TOO_LONG")], 1),
        (b"[]", [], 0),
    ],
)
def test_a_bad_row_of_a_document_is_named_and_the_rest_goes_on(
    data: bytes, bads: list[tuple[int, str]], goods: int
) -> None:
    for piece in (1, 1 << 16):
        rows = read(data, piece, limit=100)
        assert (bad(rows), len(good(rows))) == (bads, goods)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (LIST[:-2], "was cut"),
        (b'[{"a": "x', "was cut"),
        (b'{"a": [{"x": 1}],\n"b": [{"y": 1}]}', "several"),
        (b'{"a": 1,\n"b": "x"}', "has none"),
        (LIST + b"[", "something else"),
        (b'{"a":\n[{"x": 1}\n}', "don't match"),
        (b"[\n}", "don't match"),
    ],
)
def test_a_document_that_is_no_list_of_rows_is_refused(data: bytes, why: str) -> None:
    for piece in (1, 1 << 16):
        with pytest.raises(InvalidArgument, match=why):
            read(data, piece, format="json")


def test_a_record_with_too_many_cells_is_named_and_empty_cells_are_no_fields() -> None:
    rows = read(b"text,label,note\na,b,\nc,d,e,f\n\ng,h\n", filename="a.csv")
    assert good(rows) == [{"text": "a", "label": "b"}, {"text": "g", "label": "h"}]
    assert bad(rows) == [(3, "WRONG_COUNT")]
    assert [row.line for row in rows] == [2, 3, 5]


def test_cells_of_lists_and_numbers_are_read_where_our_fields_are_such() -> None:
    data = 'Text,toks,answer,tags,note\n[1],"[""a"", ""b""]",3,[broken,[2]\nx,,007.5,"[""O""]",\n'
    reading = Reading(Stream([data.encode()], Path()), Told(filename="a.csv", fields={"tokens": "toks"}), 1000, Path())
    assert good(list(reading)) == [
        {"Text": "[1]", "toks": ["a", "b"], "answer": 3, "tags": "[broken", "note": "[2]"},
        {"Text": "x", "answer": "007.5", "tags": ["O"]},
    ]


def test_marks_in_a_tab_separated_file_are_text_where_no_writer_quoted_them() -> None:
    raw = 'text\tlabel\n"Hello, he\tgood\nsaid" and\tbad\nthe "end"\tgood\n5" nails\tbad\n'
    assert [row["text"] for row in good(read(raw.encode(), filename="a.tsv"))] == [
        '"Hello, he',
        'said" and',
        'the "end"',
        '5" nails',
    ]
    quoted = 'text\tlabel\n"a ""b"""\tgood\n"two\nlines"\tbad\n"a\ttab"\tbad\n'
    assert [row["text"] for row in good(read(quoted.encode(), filename="a.tsv"))] == ['a "b"', "two\nlines", "a\ttab"]


def test_an_open_quote_takes_no_other_row_with_it() -> None:
    data = b'text,label\na,x\n"open,x\n' + b"b,y\n" * 60
    for end in (b"", b'"last open,z'):
        rows = read(data + end, limit=120, filename="a.csv")
        assert bad(rows) == [(3, "MALFORMED_ROW"), *([(64, "MALFORMED_ROW")] if end else [])]
        assert len(good(rows)) == 61
    assert len(good(read(b'text,label\n5" nail,x\nb,y\n', filename="a.csv"))) == 2


def test_a_record_of_many_lines_costs_no_more_than_its_bytes() -> None:
    rows = read(b'text,label\n"' + b"\n" * 200_000 + b'",x\na,b\n', limit=100_000, filename="a.csv")
    assert bad(rows)[0] == (2, "MALFORMED_ROW")
    assert good(rows)[-1] == {"text": "a", "label": "b"}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"1,2\n3,4\n", "looks like data"),
        (b"a,a\n1,2\n", "twice"),
        (b"a,,b\n1,2,3\n", "column 2 has no name"),
        (b'"open\n', "not closed"),
        (b",".join(b"c%d" % number for number in range(1001)) + b"\n", "1001 columns"),
    ],
)
def test_a_table_without_names_of_columns_is_refused(header: bytes, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        read(header, format="csv")


@pytest.mark.parametrize(
    ("data", "told", "found"),
    [
        (b"nonsense\n" * 3, {}, "text"),
        (b"nonsense\n" * 3, {"filename": "rows.jsonl"}, "jsonl"),
        (LINES, {"filename": "rows.csv"}, "jsonl"),
        (LINES, {"filename": "rows.json"}, "jsonl"),
        (LIST, {"filename": "rows.jsonl"}, "json"),
        (b'{"rows": [{"a": 1}, {"a": 2}]}', {"filename": "rows.json"}, "json"),
        (b'{"rows": [{"a": 1}, {"a": 2}]}', {}, "jsonl"),
        (b"text\nonly one column\n", {"filename": "a.csv.gz"}, "csv"),
        (b"a,b\nc,d\n", {"filename": "poem.txt"}, "text"),
        (CONLL, {"filename": "a.txt"}, "conll"),
        (b'text,label\n{"text": "a"}\n{"text": "b"}\n', {}, "jsonl"),
        (b"[Verse 1]\nla la\n", {}, "text"),
        (b"Roses are really red, and violets are blue\nSugar is sweet, and so are you\n", {}, "text"),
    ],
)
def test_what_holds_rows_wins_over_a_name_and_a_name_over_a_guess(
    data: bytes, told: dict[str, str], found: str
) -> None:
    reading = reading_of(data, **told)
    for _ in reading:
        pass
    assert reading.format == found


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (LINES, "csv"),
        (LINES, "json"),
        (LIST, "jsonl"),
        (b"a,b\nc,d\n", "jsonl"),
        (b"a b\n", "conll"),
        (LINES, "parquet"),
        (LINES, "xml"),
        (b"plain text\n", "sharegpt"),
        (LIST, "text"),
    ],
)
def test_a_format_that_the_file_is_not_in_is_refused(data: bytes, asked: str) -> None:
    with pytest.raises(InvalidArgument, match=asked) as refused:
        read(data, format=asked)
    assert refused.value.metadata["field"] == "format"
