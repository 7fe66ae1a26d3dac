"""Evaluations in progress and their reports. Written by evaluation."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Leased
from shared.storage.types import Json, UtcDateTime


class Evaluation(Leased, Base):
    """The judging of one model version; leased like a job."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("model", "version"), Index(None, "state"))

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[int]
    state: Mapped[str]
    """EVALUATION_STATES."""
    error: Mapped[str] = mapped_column(default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    """Rows judged, of so many."""
    report: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Report(Base):
    """Scores on a split, and the verdict. Immutable, but for when control considered it."""

    __tablename__ = "reports"
    __table_args__ = (Index(None, "model", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    version: Mapped[int]
    champion: Mapped[int | None]
    dataset_version: Mapped[int]
    test_rows: Mapped[int]
    test_digest: Mapped[str]
    """SHA-256 over the ids of the test rows, in hex: equal digests, equal rows."""
    metrics: Mapped[dict[str, float]] = mapped_column(Json)
    champion_metrics: Mapped[dict[str, float]] = mapped_column(Json, default=dict)
    base_metrics: Mapped[dict[str, float]] = mapped_column(Json, default=dict)
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    verdict: Mapped[str]
    """`pass` or `fail`."""
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    """Every rule of the gate: `{code, passed, message}`."""
    worse_than_champion: Mapped[bool] = mapped_column(default=False)
    """The champion comparison failed: its new batches are suspicious."""
    seconds: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    considered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When control drew the consequence; written by control."""
