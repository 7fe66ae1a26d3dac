"""What is done where a row holds personal data."""

import hmac
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from services.ingestion.rules.arrays import matching
from services.ingestion.rules.personal.finder import Finder, Taken
from services.ingestion.rules.personal.keys import KeySource
from services.ingestion.rules.personal.national import national
from services.ingestion.rules.personal.network import EMAIL, IP_ADDRESS, URL_CREDENTIALS
from services.ingestion.rules.personal.numbers import CN_IDENTITY_NUMBER, CREDIT_CARD, IBAN, US_SSN
from services.ingestion.rules.personal.phones import phones
from services.ingestion.rules.texts import Text, with_texts
from shared.pipelines.cleaning import NATIONAL_KINDS, PersonalData
from shared.rows import Reason, RowError

HASH_CHARACTERS = 12
"""48 bits: two of ten million different values look alike with odds of one in five."""
PASSES = 8
LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
"""Hashes have no digits, so no rule takes one for a number."""
DONE = {"flag": "flagged", "mask": "masked", "hash": "hashed", "reject": "rejected"}


class Sight(NamedTuple):
    """Personal data in a text."""

    kind: str
    start: int
    end: int
    value: str


class Treated(NamedTuple):
    """The row as it may be kept, and what was done to which kinds, in order. `error` when it may not be kept."""

    row: Mapping[str, Any]
    done: list[tuple[str, str]]
    error: RowError | None = None


class PersonalDataRule:
    """Finds, and does what the pipeline says. Finders stand in the order in which they win where two overlap."""

    def __init__(self, wanted: PersonalData, key: KeySource) -> None:
        self._policies = {str(kind): str(policy) for kind, policy in wanted.in_force.items()}
        known: list[Finder] = [URL_CREDENTIALS, EMAIL, CN_IDENTITY_NUMBER, CREDIT_CARD, IBAN, IP_ADDRESS, US_SSN]
        known += [national(kind) for kind in NATIONAL_KINDS]
        known.append(phones(wanted.phone_regions))
        self._finders = [finder for finder in known if finder.kind in self._policies]
        self._redacting = [finder for finder in self._finders if self._policies[finder.kind] != "flag"]
        self._key = key

    def __bool__(self) -> bool:
        return bool(self._finders)

    @property
    def redacts(self) -> bool:
        return bool(self._redacting)

    def suspects(self, texts: pa.Array) -> dict[int, list[Finder]]:
        """Positions of rows that may hold something, with the finders that must look closely."""
        found: dict[int, list[Finder]] = {}
        by_hint: dict[str, list[int]] = {}
        for finder in self._finders:
            if finder.hint not in by_hint:
                by_hint[finder.hint] = matching(texts, finder.hint)
            for position in by_hint[finder.hint]:
                found.setdefault(position, []).append(finder)
        return found

    def treat(self, row: Mapping[str, Any], texts: Sequence[Text], finders: Sequence[Finder]) -> Treated:
        """Looks at the texts of a row with these finders."""
        changes: list[Text] = []
        done: dict[tuple[str, str], None] = {}
        for place, text in texts:
            changed, sights = self._written(text, finders, self._policies)
            for sight in sights:
                policy = self._policies[sight.kind]
                done[sight.kind, DONE[policy]] = None
                if policy == "reject":
                    return Treated(row, list(done), _refusal(sight.kind, Text(place, text).field))
            if changed != text:
                changes.append(Text(place, changed))
        return Treated(with_texts(row, changes) if changes else row, list(done))

    def redacted(self, text: str) -> str:
        """A text for people to look at, without what the pipeline does not keep in clear."""
        masks = {finder.kind: "mask" for finder in self._redacting}
        return self._written(text, self._redacting, masks)[0]

    def _written(self, text: str, finders: Sequence[Finder], policies: Mapping[str, str]) -> tuple[str, list[Sight]]:
        """The text with words for what is masked or hashed, and all that was found. What touched something else shows
        once that is gone, so the text is looked at until nothing changes."""
        seen: list[Sight] = []
        for _ in range(PASSES):
            found = list(_sights(text, finders))
            seen += found
            pieces, place = [], 0
            for kind, start, end, value in found:
                if policies[kind] in ("mask", "hash"):
                    pieces += [text[place:start], self._word(kind, value, policies[kind])]
                    place = end
            if not pieces:
                break
            text = "".join((*pieces, text[place:]))
        return text, seen

    def _word(self, kind: str, value: str, policy: str) -> str:
        if policy == "mask":
            return f"<{kind.upper()}>"
        digest = hmac.new(self._key(), f"{kind}\0{value}".encode(errors="replace"), "sha256").hexdigest()
        return f"<{kind.upper()}:{digest[:HASH_CHARACTERS].translate(LETTERS)}>"


def _sights(text: str, finders: Sequence[Finder]) -> Iterator[Sight]:
    """What stands in the text, from left to right, none over another."""
    taken = Taken(text)
    sights = [
        Sight(finder.kind, start, end, value)
        for finder in finders
        for start, end, value in finder.find(text)
        if taken.take(start, end)
    ]
    yield from sorted(sights, key=lambda sight: sight.start)


def _refusal(kind: str, field: str) -> RowError:
    message = f"{field} holds personal data ({kind}), and the pipeline takes none"
    return RowError(Reason.PERSONAL_DATA, field, message)
