"""Numbers that name a person or an account, told from other numbers by their check digits."""

import re
from collections.abc import Iterator
from datetime import date

from services.ingestion.rules.personal.finder import Finder, Span, cuts, digits_of, matched

CARD = re.compile(r"(?<!\d)(?=(\d{4}(?:[ -]?\d){9,15}))")
"""Wherever four digits begin a group."""
LEAST_CARD = 13
ISSUERS = re.compile(r"4|5[0-9]|6[0-9]|3[04-9]|2[2-7]|81")
"""Visa, Mastercard, UnionPay, Discover, American Express, Diners, JCB, Mir, RuPay."""
ACCOUNT = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}(?: ?[0-9A-Za-z]){11,30}")
ACCOUNT_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""Characters of an IBAN by country, as SWIFT registers them."""
SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}([ -])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
IDENTITY = re.compile(r"(?<!\d)[1-9１-９]\d{16}[\dXxＸｘ](?!\d)")
IDENTITY_WEIGHTS = tuple(2**power % 11 for power in range(17, 0, -1))
IDENTITY_CHECKS = "10X98765432"


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def mod_97(account: str) -> bool:
    """The check digits of an IBAN (ISO 13616)."""
    turned = account[4:] + account[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def chinese_identity(text: str) -> str | None:
    """The 18 characters of a citizen's number (GB 11643-1999) whose region, birthday and check digit can be right."""
    digits, last = digits_of(text[:17]), text[17].upper().replace("Ｘ", "X")
    check = last if last == "X" else digits_of(last)
    total = sum(weight * int(digit) for weight, digit in zip(IDENTITY_WEIGHTS, digits, strict=True))
    if IDENTITY_CHECKS[total % 11] != check or not 11 <= int(digits[:2]) <= 94:
        return None
    try:
        born = date(int(digits[6:10]), int(digits[10:12]), int(digits[12:14]))
    except ValueError:
        return None
    return digits + check if 1850 <= born.year <= date.today().year else None


def _cards(text: str) -> Iterator[Span]:
    taken = 0
    for start in CARD.finditer(text):
        if start.start() >= taken:
            for end, number in cuts(text, start.start(), start.end(1)):
                if len(number) >= LEAST_CARD and ISSUERS.match(number) and luhn(number):
                    taken = end
                    yield Span(start.start(), end, number)
                    break


def _accounts(text: str) -> Iterator[Span]:
    for match in ACCOUNT.finditer(text):
        length = ACCOUNT_LENGTHS.get(match[0][:2].upper(), 0)
        places = [place for place in range(match.start(), match.end()) if text[place] != " "][:length]
        account = "".join(text[place] for place in places).upper()
        end = places[-1] + 1 if places else 0
        alone = not text[end : end + 1].isalnum() or not text[end : end + 1].isascii()
        if length and len(account) == length and alone and mod_97(account):
            yield Span(match.start(), end, account)


CREDIT_CARD = Finder("credit_card", r"\p{Nd}(?:[ -]?\p{Nd}){12}", _cards)
IBAN = Finder("iban", r"[A-Za-z]{2}[0-9]{2} ?[0-9A-Za-z]{4} ?[0-9A-Za-z]{4}", _accounts)
US_SSN = Finder("us_ssn", r"\p{Nd}{3}[ -]\p{Nd}{2}[ -]\p{Nd}{4}", matched(SOCIAL_SECURITY, digits_of))
CN_IDENTITY_NUMBER = Finder("cn_identity_number", r"\p{Nd}{17}", matched(IDENTITY, chinese_identity))
