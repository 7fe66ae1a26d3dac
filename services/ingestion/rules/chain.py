"""The rules of a pipeline, put together: rows of a chunk in, rows fit to be checked out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.ingestion.rules.arrays import matching, texts_array
from services.ingestion.rules.bounds import Bound
from services.ingestion.rules.cleaning import Cleaner
from services.ingestion.rules.finding import Found, Judge, judged
from services.ingestion.rules.languages import Languages
from services.ingestion.rules.personal.keys import KeySource
from services.ingestion.rules.personal.policy import PersonalDataRule
from services.ingestion.rules.repetition import Repetition
from services.ingestion.rules.texts import Text, texts_of, whole_text, with_texts
from services.ingestion.rules.toxic import pattern
from shared.pipelines.data import Data
from shared.rows import Reason, RowError

Row = Mapping[str, Any]


class Done(NamedTuple):
    """Something that a rule did to a row: `action` is changed, masked, hashed, flagged or rejected."""

    rule: str
    action: str
    detail: str = ""


class Ruled(NamedTuple):
    """A row after the rules; `error` when one of them does not let it in."""

    row: Row
    done: Sequence[Done] = ()
    error: RowError | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(one.rule for one in self.done if one.action == "flagged")


class Rules:
    """Works on a chunk of rows under our field names. A row that breaks one rule is not shown to the next."""

    def __init__(self, data: Data, texts: Sequence[str], key: KeySource) -> None:
        """`texts` are the fields that hold what somebody wrote."""
        self._fields = texts
        self._cleaner = Cleaner(data.cleaning)
        self._personal = PersonalDataRule(data.personal_data, key)
        self._toxic, self._abuse = data.toxic, "" if data.toxic == "off" else pattern()
        self.languages: Counter[str] = Counter()
        """Rows by language, where the pipeline has a rule about them."""
        self._judges = _judges(data, self.languages)
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def counts(self) -> list[dict[str, Any]]:
        """How many rows each rule did what to: {"rule", "action", "rows"}."""
        return [{"rule": rule, "action": action, "rows": rows} for (rule, action), rows in sorted(self._counts.items())]

    def apply(self, rows: Sequence[Row]) -> list[Ruled]:
        """One answer a row, in order."""
        ruled = [self._cleaned(row) for row in rows] if self._cleaner else list(map(Ruled, rows))
        if self._judges or self._personal or self._abuse:
            self._look(ruled)
        for one in ruled:
            if one.done:
                self._counts.update((done.rule, done.action) for done in one.done)
        return ruled

    def count(self, rule: str, action: str) -> None:
        """Counts what is done to a row elsewhere in the name of a rule."""
        self._counts[rule, action] += 1

    @property
    def redacts(self) -> bool:
        """Whether there is personal data that the pipeline does not keep in clear."""
        return self._personal.redacts

    def redacted(self, text: str) -> str:
        """A text for people to look at, without personal data that the pipeline does not keep in clear."""
        return self._personal.redacted(text) if self._personal else text

    def _cleaned(self, row: Row) -> Ruled:
        changes: list[Text] = []
        by: dict[str, None] = {}
        for place, text in texts_of(row, self._fields):
            cleaned, rules = self._cleaner.clean(text)
            if rules:
                changes.append(Text(place, cleaned))
                by.update(dict.fromkeys(rules))
        if not changes:
            return Ruled(row)
        return Ruled(with_texts(row, changes), [Done(rule, "changed") for rule in by])

    def _look(self, ruled: list[Ruled]) -> None:
        """Puts what the rules that judge and mask say into the list."""
        joined = texts_array([whole_text(one.row, self._fields) for one in ruled])
        personal = self._personal.suspects(joined) if self._personal else {}
        abusive = set(matching(joined, self._abuse)) if self._abuse else set()
        for position in range(len(ruled)) if self._judges else sorted(personal.keys() | abusive):
            one, texts = ruled[position], texts_of(ruled[position].row, self._fields)
            one = self._judged(one, [text for _, text in texts])
            if one.error is None and position in personal:
                one = self._treated(one, texts, personal[position])
            if one.error is None and position in abusive:
                one = _with(one, judged(self._toxic, "toxic", Reason.TOXIC, "the row has words of abuse"))
            ruled[position] = one

    def _judged(self, one: Ruled, texts: Sequence[str]) -> Ruled:
        for judge in self._judges:
            found = judge.judge(texts)
            if found:
                one = _with(one, found)
                if found.error:
                    break
        return one

    def _treated(self, one: Ruled, texts: Sequence[Text], finders: Sequence[Any]) -> Ruled:
        treated = self._personal.treat(one.row, texts, finders)
        done = [Done(f"personal_data.{kind}", action) for kind, action in treated.done]
        return Ruled(treated.row, [*one.done, *done], treated.error)


def _judges(data: Data, languages: Counter[str]) -> list[Judge]:
    cleaning = data.cleaning
    judges: list[Judge] = []
    if cleaning.characters:
        judges.append(Bound("characters", cleaning.characters))
    if cleaning.words:
        judges.append(Bound("words", cleaning.words))
    if cleaning.repetition != "off":
        judges.append(Repetition(cleaning.repetition))
    if cleaning.languages:
        judges.append(Languages(cleaning.languages, languages))
    return judges


def _with(one: Ruled, found: Found) -> Ruled:
    return Ruled(one.row, [*one.done, Done(found.rule, found.action, found.message)], found.error)
