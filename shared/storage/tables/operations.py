"""What operators did. Written by the service that carried it out."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base
from shared.storage.types import BigId, Json, UtcDateTime


class AuditEntry(Base):
    """One act of an operator."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
