"""Batches, rows and dataset versions. Written by ingestion."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Leased
from shared.storage.types import BigId, Json, UtcDateTime


class Batch(Base):
    """What one client sent in one call or file. Its accepted rows lie in one Parquet part."""

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("pipeline", "batch_key"),
        Index(None, "pipeline", "state"),
        Index(None, "pipeline", "change"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    batch_key: Mapped[str]
    source: Mapped[str]
    state: Mapped[str]
    """BATCH_STATES."""
    reason: Mapped[str] = mapped_column(default="")
    received: Mapped[int] = mapped_column(default=0)
    accepted: Mapped[int] = mapped_column(default=0)
    duplicates: Mapped[int] = mapped_column(default=0)
    quarantined: Mapped[int] = mapped_column(default=0)
    train: Mapped[int] = mapped_column(default=0)
    validation: Mapped[int] = mapped_column(default=0)
    test: Mapped[int] = mapped_column(default=0)
    quarantine_reasons: Mapped[dict[str, int]] = mapped_column(Json, default=dict)
    statistics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    part_uri: Mapped[str] = mapped_column(default="")
    part_digest: Mapped[str] = mapped_column(default="")
    """SHA-256 of the Parquet file, in hex."""
    test_eligible: Mapped[bool] = mapped_column(default=True)
    """False for ever once the batch was held: its test-side rows then never judge a model."""
    dataset_version: Mapped[int | None]
    """First dataset version that holds it."""
    near_duplicates: Mapped[int] = mapped_column(default=0)
    """Accepted rows that have a near copy in the dataset."""
    rules: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    """What the rules did: {"rule", "action", "rows"} each."""
    index_uri: Mapped[str] = mapped_column(default="")
    """Its segment of the pipeline's index of rows; empty for batches from before there were segments."""
    index_digest: Mapped[str] = mapped_column(default="")
    change: Mapped[int] = mapped_column(BigInteger, default=0)
    """Grows over all batches of the pipeline with every one that is new, held, released or rewritten."""
    journal_uri: Mapped[str] = mapped_column(default="")
    """What happened to rows that were not simply accepted; empty when there is nothing to tell."""
    journal_digest: Mapped[str] = mapped_column(default="")
    licence: Mapped[str] = mapped_column(default="")
    format: Mapped[str] = mapped_column(default="")
    encoding: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class QuarantinedRow(Base):
    """A row that was not accepted, with its reason."""

    __tablename__ = "quarantined_rows"
    __table_args__ = (Index(None, "batch"), Index(None, "pipeline"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    pipeline: Mapped[str]
    batch: Mapped[str]
    line: Mapped[int]
    """Line or position in the batch, from 1."""
    reason: Mapped[str]
    field: Mapped[str]
    message: Mapped[str]
    raw: Mapped[str]
    """The row as received, cut at 4 KiB."""


class DatasetVersion(Base):
    """An immutable snapshot: a manifest that lists the parts of its batches."""

    __tablename__ = "dataset_versions"

    pipeline: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    """DATASET_VERSION_STATES."""
    digest: Mapped[str] = mapped_column(default="")
    """SHA-256 over its rows, in hex."""
    manifest_uri: Mapped[str] = mapped_column(default="")
    train: Mapped[int] = mapped_column(default=0)
    validation: Mapped[int] = mapped_column(default=0)
    test: Mapped[int] = mapped_column(default=0)
    new_rows: Mapped[int] = mapped_column(default=0)
    """Rows that the parent did not have."""
    statistics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    parent: Mapped[int | None]
    reason: Mapped[str] = mapped_column(default="")
    merkle_root: Mapped[str] = mapped_column(default="")
    """Of the tree over its rows, in hex."""
    leaks: Mapped[int] = mapped_column(default=0)
    """Exact and near pairs across splits, as the check before sealing found them."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sealed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DatasetVersionBatch(Base):
    """Which batches a dataset version holds."""

    __tablename__ = "dataset_version_batches"
    __table_args__ = (Index(None, "batch"),)

    pipeline: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    batch: Mapped[str] = mapped_column(primary_key=True)


class Feedback(Base):
    """What a user thought of an answer."""

    __tablename__ = "feedback"
    __table_args__ = (Index(None, "request_id"), Index(None, "pipeline"))

    id: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str]
    pipeline: Mapped[str]
    model_version: Mapped[int | None]
    output: Mapped[str]
    rating: Mapped[float | None]
    correction: Mapped[str | None]
    comment: Mapped[str]
    consent: Mapped[bool]
    batch: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Import(Leased, Base):
    """What lies at a URI, on its way in."""

    __tablename__ = "imports"
    __table_args__ = (
        Index(None, "pipeline", "created_at"),
        Index(None, "pipeline", "batch_key"),
        Index(None, "state"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    batch_key: Mapped[str] = mapped_column(default="")
    """The caller's; empty when it is made of the URI and what lies there."""
    source: Mapped[str] = mapped_column(default="")
    """Of the pipeline, when it asked for the import; empty for a call."""
    uri: Mapped[str]
    header: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """What the batch's header will say, and the source's own field names."""
    state: Mapped[str]
    """IMPORT_STATES."""
    reason: Mapped[str] = mapped_column(default="")
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    total_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    rows_per_second: Mapped[float] = mapped_column(default=0.0)
    """Lately."""
    eta_seconds: Mapped[float] = mapped_column(default=0.0)
    """0 while nobody knows."""
    batch: Mapped[str | None]
    failures: Mapped[int] = mapped_column(default=0)
    """How often it came to nothing; only a followed file is asked for again."""
    retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it is asked for again; None for one that has not failed, or whose file must change first."""
    is_gone: Mapped[bool] = mapped_column(default=False)
    """Whether the followed file that it failed for was not there at the last look."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SourceState(Base):
    """Where a followed folder, prefix or stream stands."""

    __tablename__ = "source_states"

    pipeline: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    pending: Mapped[int] = mapped_column(BigInteger, default=0)
    rows: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[str] = mapped_column(default="")
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    owner: Mapped[str | None]
    """Process that looks at it now."""
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Deletion(Base):
    """Rows that somebody had removed; what they said is nowhere in it."""

    __tablename__ = "deletions"
    __table_args__ = (Index(None, "pipeline"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    digests: Mapped[list[str]] = mapped_column(Json, default=list)
    """Ids of the rows, hashed once more."""
    sources: Mapped[list[str]] = mapped_column(Json, default=list)
    rows: Mapped[int] = mapped_column(default=0)
    batches: Mapped[list[str]] = mapped_column(Json, default=list)
    dataset_versions: Mapped[list[int]] = mapped_column(Json, default=list)
    model_versions: Mapped[list[int]] = mapped_column(Json, default=list)
    reason: Mapped[str] = mapped_column(default="")
    actor: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
