"""Encodings: found, told, wrong, and damaged in some lines."""

import json
from collections.abc import Sequence

import pytest

from shared.errors import InvalidArgument
from tests.support.reading import bad, good, read, reading_of

CHINESE = ["今天的天气真好，我们去公园散步吧。", "这部电影太难看了，浪费时间。", "请问您需要什么帮助？"]
TRADITIONAL = ["今天的天氣真好，我們去公園散步吧。", "這部電影太難看了，浪費時間。", "請問您需要什麼幫助？"]
JAPANESE = ["これは日本語の文章です。", "今日はとても良い天気ですね。", "東京は日本の首都です。"]
FRENCH = ["Où êtes-vous allé hier ?", "C'était très agréable, merci à vous.", "Ça va être une belle journée d'été."]


def lines(texts: Sequence[str]) -> str:
    return "".join(json.dumps({"text": text, "label": "a"}, ensure_ascii=False) + "\n" for text in texts)


@pytest.mark.parametrize(
    ("texts", "encoding", "found"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8"),
        (CHINESE, "gb18030", "gb18030"),
        (CHINESE, "gb2312", "gb18030"),
        (TRADITIONAL, "big5", "big5hkscs"),
        (JAPANESE, "shift_jis", "cp932"),
        (FRENCH, "latin-1", "cp1252"),
        (CHINESE, "utf-16", "utf-16-le"),
        (CHINESE, "utf-16-le", "utf-16-le"),
        (CHINESE, "utf-16-be", "utf-16-be"),
        (CHINESE, "utf-32", "utf-32-le"),
    ],
)
@pytest.mark.parametrize("piece", [1, 1 << 16])
def test_an_encoding_is_found_and_told(texts: list[str], encoding: str, found: str, piece: int) -> None:
    reading = reading_of(lines(texts).encode(encoding), piece)
    assert good(list(reading)) == [{"text": text, "label": "a"} for text in texts]
    assert reading.encoding == found


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "iso2022_jp", "euc_jp"])
def test_an_encoding_may_be_told(encoding: str) -> None:
    rows = read(lines(JAPANESE).encode(encoding), encoding=encoding)
    assert good(rows) == [{"text": text, "label": "a"} for text in JAPANESE]


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "gb18030"),
        ("gb18030", "utf-8"),
        ("utf-8", "utf-16"),
        ("utf-16", "utf-8"),
        ("utf-16-le", "utf-8"),
        ("utf-8", "latin-1"),
    ],
)
def test_an_encoding_that_the_file_is_not_in_is_refused(encoding: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as refused:
        read(lines(CHINESE).encode(encoding), encoding=told)
    assert refused.value.metadata["field"] == "encoding"


@pytest.mark.parametrize(
    "name", ["nonsense", "utf-7", "zip", "base64", "unicode_escape", "idna", "rot13", "a\0b", "x" * 500]
)
def test_an_encoding_that_is_none_of_text_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not known"):
        read(lines(CHINESE).encode(), encoding=name)


def test_damaged_lines_are_named_and_the_encoding_stays() -> None:
    for encoding, damage in (("utf-8", b"\xff\xfe\xfd"), ("gb18030", b"\x80\xff")):
        whole = lines(CHINESE * 10).encode(encoding).split(b"\n")
        whole[3] = whole[3][:10] + damage + whole[3][10:]
        rows = read(b"\n".join(whole))
        assert bad(rows) == [(4, "BAD_ENCODING")]
        assert len(good(rows)) == 29


def test_a_character_that_is_cut_in_utf_16_is_named() -> None:
    data = lines(CHINESE).encode("utf-16-le")
    rows = read(data[:-2].replace("天".encode("utf-16-le"), b"\x00\xd8") + b"\n\0", piece=3, encoding="utf-16-le")
    assert bad(rows) == [(1, "BAD_ENCODING")]


def test_one_odd_byte_is_no_reason_to_guess() -> None:
    rows = read(lines(["plain", "caf\xe9"]).encode("latin-1"))
    assert bad(rows) == [(2, "BAD_ENCODING")]
    assert "say its encoding" in str(rows[1].fields)
    assert good(read(lines(["plain", "caf\xe9"]).encode("latin-1"), encoding="latin-1"))[1] == {
        "text": "café",
        "label": "a",
    }
