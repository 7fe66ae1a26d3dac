import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingestion.rules.characters import compatible, tidy, without_controls
from services.ingestion.rules.cleaning import Cleaner
from services.ingestion.rules.html import plain_text
from shared.pipelines.cleaning import Cleaning

ALL = Cleaning(html=True, unicode="nfkc", control_characters=True, whitespace=True)
PIECES = [
    "<b>",
    "</b>",
    "<p class='x'>",
    "<br/>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "&amp;",
    "&lt;",
    "&gt;",
    "&#38;",
]
PIECES += [
    "amp;",
    "lt;",
    "#60;",
    "＜b＞",
    "&#xFF1C;",
    "<",
    ">",
    "&",
    " ",
    "\n",
    "\r\n",
    "\u3000",
    "\u200b",
    "\0",
    "酒店",
    "ａ",
    "x",
]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("<p>酒店<b>很好</b></p>", "\n酒店很好\n"),
        ("first<br>second", "first\nsecond"),
        ("<td>1</td><td>2</td>", " 1  2 "),
        ("fish &amp; chips &#8364;5 &#x4f60;&#22909;", "fish & chips €5 你好"),
        ('<a href="http://x.com?a=1&b=2">链接</a>', "链接"),
        ("before<script>if (a < b) alert('<p>')</script>after", "beforeafter"),
        ("a<style>p { color: red }</style>b<!-- <p>nobody reads this --> c", "ab c"),
        ("<SCRIPT src=x></SCRIPT>ok", "ok"),
        ("a comment that never ends <!-- is text", "a comment that never ends  is text"),
        ("<script>never closed", "never closed"),
    ],
)
def test_html_becomes_the_text_that_a_reader_would_see(written: str, plain: str) -> None:
    assert plain_text(written) == plain


@pytest.mark.parametrize(
    "text",
    [
        "a < b > c",
        "x <y and z> w",
        "I <3 you",
        "AT&T",
        "R&D &c",
        "if a<b and c>d",
        "?a=1&copy=2",
        "<unknown>tag</unknown>",
        "泛型 List<T>",
    ],
)
def test_what_only_looks_like_html_stays(text: str) -> None:
    assert plain_text(text) == text


@pytest.mark.parametrize(
    "hostile",
    ["<!--" * 16_000, "<script>" * 8_000, "<a" * 32_000, "&amp;" * 13_000, "&" + "amp;" * 16_000, "<b" + " a" * 30_000],
)
def test_hostile_markup_is_cleaned_in_time_and_to_the_end(hostile: str) -> None:
    cleaned, _ = Cleaner(ALL).clean(hostile)
    assert Cleaner(ALL).clean(cleaned) == (cleaned, [])


def test_invisible_characters_go_and_what_emoji_and_persian_need_stays() -> None:
    assert without_controls("a\0b\x1b[31m\u200bc\ufeff\u202ed\xadf") == "ab[31mcdf"
    assert without_controls("one\x0btwo\x85three\tfour\n") == "one two three\tfour\n"
    assert without_controls("👩\u200d💻 می\u200cخواهم") == "👩\u200d💻 می\u200cخواهم"
    assert without_controls("hidden\U000e0068\U000e0069") == "hidden"


def test_blanks_of_every_width_become_one_and_paragraphs_stay() -> None:
    assert tidy("\u3000酒店\u3000\u3000很好 \t ") == "酒店 很好"
    assert tidy("one  two \r\n\r\n\r\n\r\n three\u00a0four\n") == "one two\n\nthree four"
    assert tidy(" \n \u2003 ") == ""


def test_full_width_letters_and_digits_become_plain() -> None:
    assert compatible("ＡＢＣ１２３，价格：￥９９ ﬁ") == "ABC123,价格:¥99 fi"


def test_each_rule_works_by_itself_and_says_so() -> None:
    text = "<b>Ａ</b>\u200b  b"
    assert Cleaner(Cleaning()).clean(text) == (text, [])
    assert not Cleaner(Cleaning())
    assert Cleaner(Cleaning(html=True)).clean(text) == ("Ａ\u200b  b", ["html"])
    assert Cleaner(ALL).clean(text) == ("A b", ["unicode", "html", "control_characters", "whitespace"])


@settings(max_examples=150, deadline=None)
@given(
    text=st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.text(max_size=30)),
    wanted=st.builds(
        Cleaning,
        html=st.booleans(),
        unicode=st.sampled_from(["nfc", "nfkc"]),
        control_characters=st.booleans(),
        whitespace=st.booleans(),
    ),
)
def test_cleaning_twice_changes_nothing(text: str, wanted: Cleaning) -> None:
    cleaner = Cleaner(wanted)
    cleaned, by = cleaner.clean(text)
    assert (cleaned != text) <= bool(by)
    assert cleaner.clean(cleaned) == (cleaned, [])
