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
class RuleCount:
    """What a rule did to how many rows: changed, masked, hashed, flagged, rejected."""

    rule: str
    action: str
    rows: int


@dataclass(frozen=True)
class PreviewRow:
    """A row of a dry run: accepted or quarantined, as it would be stored or why not."""

    line: int
    outcome: str
    split: str
    fields: dict[str, Any]
    reason: str
    message: str
    rules: tuple[str, ...]


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
    near_duplicates: int = 0
    """Accepted rows that have a near copy in the dataset."""
    rules: "tuple[RuleCount, ...]" = ()
    format: str = ""
    encoding: str = ""
    licence: str = ""
    preview: tuple[PreviewRow, ...] = ()
    """Of a dry run."""


@dataclass(frozen=True)
class DatasetVersion:
    """An immutable snapshot. States: received, validating, sealed, quarantined, rejected, expired."""

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
    merkle_root: str = ""
    """Of the tree over its rows, in hex."""
    licences: tuple[str, ...] = ()
    leaks: int = 0
    reason: str = ""
    """Why it was rejected, or has expired."""


@dataclass(frozen=True)
class DatasetDiff:
    """What changed from one dataset version to another; `changes` has counts before and after, and effect sizes."""

    pipeline: str
    first: int
    second: int
    added: int
    removed: int
    kept: int
    changes: dict[str, Any]


@dataclass(frozen=True)
class Deletion:
    """What a deletion of rows did; `id` is empty when there was nothing to delete."""

    id: str
    rows: int
    batches: tuple[str, ...]
    unknown: tuple[str, ...]
    """Ids that the dataset does not have."""
    dataset_versions: tuple[int, ...]
    """Versions that held the rows and can't be read any more."""
    model_versions: tuple[int, ...]
    """Model versions that were trained on rows of it, and those that went on from their weights."""


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
