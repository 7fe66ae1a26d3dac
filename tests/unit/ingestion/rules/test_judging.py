from collections import Counter

import pytest

from services.ingestion.rules.arrays import matching, texts_array
from services.ingestion.rules.bounds import Bound, words_in
from services.ingestion.rules.languages import Languages, probabilities
from services.ingestion.rules.repetition import Repetition
from services.ingestion.rules.toxic import pattern
from shared.pipelines.cleaning import Bounds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fine", 1),
        ("well, it's  fine.", 4),
        ("酒店很好", 4),
        ("我住 Hilton 酒店", 5),
        ("サービス", 4),
        ("!?", 0),
        ("", 0),
    ],
)
def test_a_chinese_character_counts_as_a_word(text: str, words: int) -> None:
    assert words_in(text) == words


@pytest.mark.parametrize(
    ("texts", "reason"),
    [(["abc"], None), (["ab"], "TOO_SHORT"), (["ab", "c"], None), (["abc", "def"], None), (["abcdefg"], "TOO_LONG")],
)
def test_a_rows_texts_are_measured_together(texts: list[str], reason: str | None) -> None:
    found = Bound("characters", Bounds(least=3, most=6)).judge(texts)
    assert (found.error.reason if found and found.error else None) == reason


def test_a_bound_says_how_long_the_row_is_and_what_is_allowed() -> None:
    found = Bound("words", Bounds(most=2)).judge(["太好了"])
    assert found is not None
    assert found.message == "the row has 3 words; the most is 2"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("这家酒店的服务很好，房间干净", "zh"),
        ("服務很好，房間乾淨", "zh"),
        ("我昨天住的Hilton酒店wifi很慢，前台态度也一般", "zh"),
        ("日本語のテキストです", "ja"),
        ("한국어로 쓴 글입니다", "ko"),
        ("Great service and very friendly staff, we will come back", "en"),
        ("Le petit déjeuner était excellent et le personnel aimable", "fr"),
        ("Номер был чистый, персонал очень вежливый", "ru"),
    ],
)
def test_the_language_of_a_text_is_found(text: str, language: str) -> None:
    shares = probabilities(text)
    assert max(shares, key=lambda name: shares[name]) == language
    assert Languages([language], Counter()).judge([text]) is None


@pytest.mark.parametrize(
    "text",
    ["ok", "好", "lol!!!", "😀😀😀😀😀😀😀😀😀😀", "12345678901234567890", "@united https://t.co/abcdefghijklmnop", ""],
)
def test_a_text_too_short_to_tell_is_let_through(text: str) -> None:
    assert probabilities(text) == {}
    assert Languages(["sw"], Counter()).judge([text]) is None


def test_a_row_in_another_language_is_refused_and_half_a_surrogate_is_no_crash() -> None:
    found = Languages(["zh", "en"], Counter()).judge(
        ["Le petit déjeuner était excellent et le personnel aimable\ud800"]
    )
    assert found is not None
    assert found.error is not None
    assert found.error.reason == "WRONG_LANGUAGE"
    assert found.message == "the row looks like fr; wanted: zh, en"


@pytest.mark.parametrize(
    "text",
    ["哈" * 12, "so gooooooooooooood", "hahahahahahahahahahahahaha", "买买买买买买买买买买买买", "buy now\n" * 6],
)
def test_texts_that_say_one_thing_over_and_over_are_flagged(text: str) -> None:
    found = Repetition("flag").judge(["fine", text])
    assert found is not None
    assert (found.rule, found.action, found.error) == ("repetition", "flagged", None)


@pytest.mark.parametrize(
    "text",
    [
        "哈哈哈哈",
        "sooo good",
        "-" * 80,
        "a.b.c" * 3,
        "one\ntwo\none\nthree\nfour\nfive",
        "好的",
    ],
)
def test_ordinary_emphasis_is_not(text: str) -> None:
    assert Repetition("reject").judge([text]) is None


def test_the_list_of_abuse_finds_words_and_no_parts_of_others() -> None:
    abuse = [
        "What a FUCKING mess",
        "you idiots!",
        "f**k this",
        "你这个傻逼",
        "傻*逼",
        "真他妈的差",
        "他 妈 的",
        "kill yourself",
        "Go  to hell",
    ]
    plain = [
        "操作手册",
        "妈妈的手",
        "Scunthorpe",
        "a moroccan classic",
        "skyscraper",
        "assess the shiitake",
        "狗日子",
        "hello",
    ]
    assert matching(texts_array(abuse), pattern()) == list(range(len(abuse)))
    assert matching(texts_array(plain), pattern()) == []
