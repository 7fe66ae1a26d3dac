"""Pipelines and what their triggers decided. Written by control."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base
from shared.storage.types import BigId, Json, UtcDateTime


class Pipeline(Base):
    """The declared loop of one model; `spec` is shared.pipelines.schema.PipelineSpec as JSON."""

    __tablename__ = "pipelines"

    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
    tenant: Mapped[str] = mapped_column(default="")
    """Who declared it; empty where no keys are configured."""
    spec: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TriggerDecision(Base):
    """Why a job was started, or not; kept even when the answer is no."""

    __tablename__ = "trigger_decisions"
    __table_args__ = (Index(None, "pipeline", "dataset_version"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    pipeline: Mapped[str]
    dataset_version: Mapped[int]
    trigger: Mapped[str]
    """`new_rows`, `manual`, …"""
    decision: Mapped[str]
    """`start`, `wait` (a job is running or the cooldown is on; considered again later) or `no`."""
    reason: Mapped[str]
    job: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
