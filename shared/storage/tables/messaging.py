"""The outbox, dead letters and the leader's lease."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base
from shared.storage.types import Json, UtcDateTime


class OutboxMessage(Base):
    """A message that must be handled at least once.

    Written in the transaction that makes it true; published when due; published again until a handler
    is done with it. So a queue that loses everything loses nothing.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "done_at", "due_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    queue: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    """An encoded Envelope."""
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    publishes: Mapped[int] = mapped_column(default=0)
    """Since a handler last saw it."""
    starts: Mapped[int] = mapped_column(default=0)
    """Times that a handler began and neither finished nor failed: what kills its worker shows here."""
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DeadLetter(Base):
    """A message that could not be handled, kept for a person."""

    __tablename__ = "dead_letters"

    id: Mapped[str] = mapped_column(primary_key=True)
    queue: Mapped[str]
    task: Mapped[str]
    type_name: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    error: Mapped[str]
    attempts: Mapped[int]
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    replayed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Leader(Base):
    """Who leads; one row a role."""

    __tablename__ = "leaders"

    role: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    fence: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
