"""The declarative base and what several tables have in common."""

from datetime import datetime

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.storage.types import UtcDateTime

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of every table; constraints have names, so that migrations can change them on both databases."""

    metadata = MetaData(naming_convention=NAMING)


class Leased:
    """Work that one worker may hold at a time; see shared.storage.leases."""

    owner: Mapped[str | None]
    """Worker that holds it; null when free."""
    fence: Mapped[int] = mapped_column(default=0)
    """Rises with every take; a write that carries an older one changes nothing."""
    attempt: Mapped[int] = mapped_column(default=0)
    """Takes so far."""
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """By the database's clock."""
