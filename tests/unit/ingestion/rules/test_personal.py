import sys

import pytest

from services.ingestion.rules.arrays import matching, texts_array
from services.ingestion.rules.personal.finder import Finder
from services.ingestion.rules.personal.national import RECOGNISERS, _recogniser, national
from services.ingestion.rules.personal.network import EMAIL, IP_ADDRESS, URL_CREDENTIALS
from services.ingestion.rules.personal.numbers import CN_IDENTITY_NUMBER, CREDIT_CARD, IBAN, US_SSN, luhn, mod_97
from services.ingestion.rules.personal.phones import phones
from shared.errors import FailedPrecondition

PHONE = phones([])
HOSTILE = [
    "1 " * 8000,
    "1111 " * 4000,
    "a." * 8000 + "@",
    "+1 " * 6000,
    "@a.a" * 4000,
    "de89 " * 4000,
    "::" * 8000,
    "9" * 16_000,
    "://a:b" * 3000,
]
FINDERS = [EMAIL, IP_ADDRESS, URL_CREDENTIALS, CREDIT_CARD, IBAN, US_SSN, CN_IDENTITY_NUMBER, PHONE]


def found(finder: Finder, text: str) -> list[tuple[str, str]]:
    """What stands there and what it means; a hint may never say that there is nothing."""
    spans = [(text[start:end], value) for start, end, value in finder.find(text)]
    if spans:
        assert matching(texts_array([text]), finder.hint) == [0]
    return spans


@pytest.mark.parametrize(
    ("finder", "text", "span", "value"),
    [
        (
            EMAIL,
            "写信给 Li.Wei+shop@Mail.Example.com。",
            "Li.Wei+shop@Mail.Example.com",
            "li.wei+shop@mail.example.com",
        ),
        (EMAIL, "我的邮箱abc_1@qq.com谢谢", "abc_1@qq.com", "abc_1@qq.com"),
        (EMAIL, "...joe@x.co", "joe@x.co", "joe@x.co"),
        (PHONE, "手机13812345678，请联系", "13812345678", "+8613812345678"),
        (PHONE, "电话：138 1234 5678", "138 1234 5678", "+8613812345678"),
        (PHONE, "+86 138-1234-5678", "+86 138-1234-5678", "+8613812345678"),
        (PHONE, "１３８１２３４５６７８", "１３８１２３４５６７８", "+8613812345678"),
        (PHONE, "call +1 212-555-2368 2024", "+1 212-555-2368", "+12125552368"),
        (PHONE, "ring +44 20 7946 0958", "+44 20 7946 0958", "+442079460958"),
        (PHONE, "0044 20 7946 0958", "0044 20 7946 0958", "+442079460958"),
        (CREDIT_CARD, "order 12 4111 1111 1111 1111 12/26", "4111 1111 1111 1111", "4111111111111111"),
        (CREDIT_CARD, "3782-822463-10005", "3782-822463-10005", "378282246310005"),
        (
            CREDIT_CARD,
            "卡号６２２２０２１２３４５６７８９０１２８。",
            "６２２２０２１２３４５６７８９０１２８",
            "6222021234567890128",
        ),
        (IBAN, "to DE89 3704 0044 0532 0130 00 and more", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        (IBAN, "gb82west12345698765432,", "gb82west12345698765432", "GB82WEST12345698765432"),
        (US_SSN, "SSN 536-90-4399", "536-90-4399", "536904399"),
        (CN_IDENTITY_NUMBER, "身份证11010519491231002x。", "11010519491231002x", "11010519491231002X"),
        (
            CN_IDENTITY_NUMBER,
            "１１０１０５１９４９１２３１００２Ｘ",
            "１１０１０５１９４９１２３１００２Ｘ",
            "11010519491231002X",
        ),
        (IP_ADDRESS, "from 10.1.2.3, ok", "10.1.2.3", "10.1.2.3"),
        (IP_ADDRESS, "[fe80::1ff:fe23:4567:890a]", "fe80::1ff:fe23:4567:890a", "fe80::1ff:fe23:4567:890a"),
        (URL_CREDENTIALS, "postgres://bob:s3cret@db:5432/x", "bob:s3cret", "bob:s3cret"),
        (URL_CREDENTIALS, "https://x.com/?a=1&token=abc.DEF#top", "abc.DEF", "abc.DEF"),
    ],
)
def test_personal_data_is_found_however_it_is_written(finder: Finder, text: str, span: str, value: str) -> None:
    assert found(finder, text) == [(span, value)]


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (EMAIL, "@united thanks"),
        (EMAIL, "a@b"),
        (EMAIL, "three @ 4.50"),
        (PHONE, "订单号20231234567890"),
        (PHONE, "12345678901"),
        (PHONE, "+99 123456789"),
        (PHONE, "10 000 000 people"),
        (CREDIT_CARD, "4111 1111 1111 1112"),
        (CREDIT_CARD, "0000 0000 0000 0000"),
        (CREDIT_CARD, "20231231 20240101"),
        (IBAN, "DE89 3704 0044 0532 0130 01"),
        (IBAN, "ZZ89370400440532013000"),
        (IBAN, "AB12 this is no account at all"),
        (US_SSN, "000-12-3456"),
        (US_SSN, "536-90 4399"),
        (US_SSN, "1536-90-43991"),
        (CN_IDENTITY_NUMBER, "110105194912310021"),
        (CN_IDENTITY_NUMBER, "110105194913310022"),
        (CN_IDENTITY_NUMBER, "911010519491231002X"),
        (IP_ADDRESS, "version 1.2.3.4.5 of 12:30:45"),
        (IP_ADDRESS, "std::vector abc::def 127.0.0.1 300.1.1.1"),
        (URL_CREDENTIALS, "https://x.com/a?page=2 and me@x.com"),
    ],
)
def test_what_fails_its_check_digits_or_only_looks_alike_is_left(finder: Finder, text: str) -> None:
    assert found(finder, text) == []


def test_numbers_without_a_country_code_count_where_the_pipeline_names_the_country() -> None:
    assert found(phones(["US"]), "(212) 456-7890") == [("(212) 456-7890", "+12124567890")]
    assert found(PHONE, "(212) 456-7890") == []


@pytest.mark.parametrize("number", ["4242424242424242", "5555555555554444", "6011111111111117", "3566002020360505"])
def test_one_wrong_digit_fails_the_check(number: str) -> None:
    assert luhn(number)
    assert not any(luhn(number[:7] + str((int(number[7]) + step) % 10) + number[8:]) for step in range(1, 10))


def test_the_check_digits_of_an_account_are_those_of_its_country() -> None:
    assert mod_97("FR1420041010050500013M02606")
    assert not mod_97("FR1420041010050500013M02607")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_searched_to_their_end(text: str) -> None:
    assert all(len(list(finder.find(text))) <= len(text) for finder in FINDERS)


def test_identity_numbers_of_other_countries_come_from_presidio_which_brings_no_torch_along() -> None:
    had_torch = "torch" in sys.modules
    assert found(national("uk_nhs"), "NHS 943 476 5919") == [("943 476 5919", "9434765919")]
    assert found(national("uk_nhs"), "NHS 943 476 5918") == []
    assert found(national("es_nif"), "DNI 12345678Z") == [("12345678Z", "12345678Z")]
    assert found(national("pl_pesel"), "44051401359") == [("44051401359", "44051401359")]
    assert all(found(national(kind), "nothing here 12") == [] for kind in RECOGNISERS)
    assert ("torch" in sys.modules) == had_torch


def test_a_kind_that_needs_presidio_says_so_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    _recogniser.cache_clear()
    with pytest.raises(FailedPrecondition, match="need the package presidio-analyzer"):
        list(national("uk_nhs").find("943 476 5919"))
    assert "torch" not in sys.modules or sys.modules["torch"] is not None
