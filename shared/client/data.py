"""What the ingestion service answers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class SplitCounts:
    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        return self.train + self.validation + self.test


@dataclass(frozen=True)
class ReasonCount:
    reason: str
    rows: int


@dataclass(frozen=True)
class Batch:
    """What one client sent in one call or file. States: received, accepted, held, rejected."""

    id: str
    pipeline: str
    batch_key: str
    source: str
    state: str
    received: int
    accepted: int
    duplicates: int
    quarantined: int
    quarantine_reasons: tuple[ReasonCount, ...]
    splits: SplitCounts
    dataset_version: int
    reason: str
    created_at: datetime | None
    repeated_call: bool


@dataclass(frozen=True)
class DatasetVersion:
    """An immutable snapshot. States: received, validating, sealed, quarantined, rejected."""

    pipeline: str
    version: int
    state: str
    digest: str
    splits: SplitCounts
    new_rows: int
    batches: tuple[str, ...]
    manifest_uri: str
    statistics: dict[str, Any]
    parent: int
    sealed_at: datetime | None


@dataclass(frozen=True)
class Row:
    id: str
    split: str
    batch: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class QuarantinedRow:
    """A row that was not accepted; `line` counts from 1."""

    batch: str
    line: int
    reason: str
    field: str
    message: str
    raw: str


@dataclass(frozen=True)
class FeedbackReceipt:
    """`batch` is None unless a consented correction became a row."""

    feedback: str
    batch: Batch | None
