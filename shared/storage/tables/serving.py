"""What inference servers hold, and what they answered. Written by inference."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base
from shared.storage.types import Json, UtcDateTime


class Deployment(Base):
    """A version that an inference server holds now."""

    __tablename__ = "deployments"

    server: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    """0 for the untouched base model."""
    aliases: Mapped[list[str]] = mapped_column(Json, default=list)
    state: Mapped[str]
    """DEPLOYMENT_STATES."""
    error: Mapped[str] = mapped_column(default="")
    swap_seconds: Mapped[float | None]
    """From the alias move (database clock) to ready."""
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Traffic(Base):
    """How requests for the champion of a model are shared and copied; every inference server follows it."""

    __tablename__ = "traffic"

    model: Mapped[str] = mapped_column(primary_key=True)
    shares: Mapped[list[list[float]]] = mapped_column(Json, default=list)
    """Pairs of version and share beside the champion."""
    shadows: Mapped[list[list[float]]] = mapped_column(Json, default=list)
    """Pairs of version and the share of requests that it gets a copy of."""
    set_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Answer(Base):
    """One answered request, kept for a day."""

    __tablename__ = "answers"
    __table_args__ = (Index(None, "created_at"),)

    request_id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(primary_key=True, default="", server_default="")
    """Whose call it was; empty where no keys are configured."""
    model: Mapped[str]
    version: Mapped[int]
    method: Mapped[str]
    input: Mapped[dict[str, Any]] = mapped_column(Json)
    output: Mapped[dict[str, Any]] = mapped_column(Json)
    lineage: Mapped[dict[str, Any]] = mapped_column(Json)
    timings: Mapped[dict[str, float]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
