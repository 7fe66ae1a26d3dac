"""What every task kind's schema does: product fields in, a checked row with its identity out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, NamedTuple

from shared.pipelines.schema import PipelineSpec
from shared.rows.paths import MISSING, find

SEPARATOR = "\0"
"""Between the parts of what is hashed; no part can hold it, so no two rows look alike."""


class Reason(StrEnum):
    """Why a row was not accepted; stable words for programs."""

    MALFORMED_JSON = "MALFORMED_JSON"
    MALFORMED_ROW = "MALFORMED_ROW"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    EMPTY_TEXT = "EMPTY_TEXT"
    UNKNOWN_LABEL = "UNKNOWN_LABEL"
    UNKNOWN_ROLE = "UNKNOWN_ROLE"
    BAD_TURN_ORDER = "BAD_TURN_ORDER"
    ROW_TOO_LONG = "ROW_TOO_LONG"
    BAD_ENCODING = "BAD_ENCODING"
    BAD_CHARACTER = "BAD_CHARACTER"
    NON_FINITE_NUMBER = "NON_FINITE_NUMBER"
    TOO_DEEP = "TOO_DEEP"
    LENGTHS_DIFFER = "LENGTHS_DIFFER"
    BAD_TAG = "BAD_TAG"
    BAD_SPAN = "BAD_SPAN"
    NOT_IN_TEXT = "NOT_IN_TEXT"
    WRONG_COUNT = "WRONG_COUNT"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    DUPLICATE_VALUE = "DUPLICATE_VALUE"
    CONTRADICTION = "CONTRADICTION"
    UNKNOWN_ANSWER = "UNKNOWN_ANSWER"
    TOO_SHORT = "TOO_SHORT"
    TOO_LONG = "TOO_LONG"
    WRONG_LANGUAGE = "WRONG_LANGUAGE"
    REPEATED = "REPEATED"
    PERSONAL_DATA = "PERSONAL_DATA"
    TOXIC = "TOXIC"
    SOURCE_CAP = "SOURCE_CAP"
    BATCH_CAP = "BATCH_CAP"
    CONFLICTING_LABEL = "CONFLICTING_LABEL"
    BRIDGES_SPLITS = "BRIDGES_SPLITS"
    OFFICIAL_SPLIT_LEAKS = "OFFICIAL_SPLIT_LEAKS"


class RowError(ValueError):
    """A row that can't be used. `field` is ours, empty when the whole row is wrong."""

    def __init__(self, reason: Reason, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message


class ParsedRow(NamedTuple):
    """A checked row. `row_id` is the SHA-256 of its whole content in hex; rows of one `split_key` share a side."""

    row_id: str
    split_key: str
    fields: dict[str, Any]


class Schema(ABC):
    """One task kind's row."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Rises when what is stored changes; manifests of dataset versions name it."""
    columns: ClassVar[tuple[str, ...]]
    """Of a stored row, besides row_id and split."""
    outputs: ClassVar[frozenset[str]]
    """Of our fields, those that a correction gives."""
    inputs: ClassVar[tuple[str, ...]]
    """Our fields that a row may come in."""
    texts: ClassVar[tuple[str, ...]]
    """Of the inputs, those that hold what somebody wrote: a text, a list of texts, or messages. Never labels."""
    has_places: ClassVar[bool] = False
    """Whether other fields count the characters or words of the texts, so that their length must stay."""

    key_columns: ClassVar[tuple[str, ...]] = ()
    """Columns that `stored_key` reads; none where it tells nothing."""

    def parse(self, fields: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        """Checks a row that has the product's field names. Raises RowError."""
        return self.check(self.mapped(fields, spec.data.fields), spec)

    def mapped(self, fields: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
        """The row under our field names; `names` has the product's where they differ, dots reach inside."""
        if not names:
            return fields
        made: dict[str, Any] = {}
        for ours in self.inputs:
            path = names.get(ours, ours)
            value = fields.get(path)
            if value is None and "." in path:
                value = find(fields, path)
            if value is not None and value is not MISSING:
                made[ours] = value
        return made

    @abstractmethod
    def check(self, row: Mapping[str, Any], spec: PipelineSpec) -> ParsedRow:
        """Checks a row that has our field names; messages tell the product's, too. Raises RowError."""

    def reader(self, spec: PipelineSpec) -> Callable[[Mapping[str, Any]], ParsedRow]:
        """`check` for many rows of one pipeline."""
        return partial(self.check, spec=spec)

    @abstractmethod
    def corrected(self, given: Mapping[str, Any], correction: str) -> dict[str, Any]:
        """The row, in our field names, that has a request's input and the corrected output."""

    def given(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """A row, in our field names, that `check` makes the stored one of."""
        return {name: stored[name] for name in self.columns if stored.get(name) is not None}

    def stored_key(self, stored: Mapping[str, Any]) -> str | None:
        """The split key of a stored row, for a kind that can tell it without checking the row again."""
        return None

    def labels(self, fields: Mapping[str, Any]) -> Sequence[str]:
        """The stored row's labels, for the statistics; none for a kind without labels."""
        return ()

    @abstractmethod
    def lengths(self, fields: Mapping[str, Any]) -> dict[str, int]:
        """Sizes of a stored row, by what is measured."""


def row_id(kind: str, *content: str) -> str:
    """SHA-256 of the kind and the content, in hex."""
    return sha256(SEPARATOR.join((kind, *content)).encode()).hexdigest()


def loosened(text: str) -> str:
    """The text without differences of case and white space, so that near copies fall on one side of a split."""
    return " ".join(text.casefold().split())
