"""Model versions (made by finetuning, judged by evaluation) and aliases (moved by control)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base
from shared.storage.types import BigId, Json, UtcDateTime


class ModelVersion(Base):
    """Immutable numbered weights with lineage. Only `state` ever changes, by shared.storage.states."""

    __tablename__ = "model_versions"

    model: Mapped[str] = mapped_column(primary_key=True)
    """The pipeline's name."""
    version: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    """MODEL_VERSION_STATES."""
    kind: Mapped[str]
    method: Mapped[str]
    base: Mapped[str]
    base_digest: Mapped[str]
    weights_uri: Mapped[str]
    """Folder in the artifact store, in Hugging Face's layout plus flywheel.json."""
    weights_digest: Mapped[str]
    adapter_digest: Mapped[str] = mapped_column(default="")
    labels: Mapped[list[str]] = mapped_column(Json, default=list)
    job: Mapped[str] = mapped_column(unique=True)
    run: Mapped[str]
    dataset_version: Mapped[int]
    metrics: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """What training measured on the validation split."""
    conditions: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """What else decided the bytes: threads, precision, libraries, code, processor; empty for old versions."""
    started_from: Mapped[int | None]
    """The version whose weights training began with; null: the base model."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Alias(Base):
    """A movable name on a version."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    """`candidate` or `champion`."""
    version: Mapped[int]
    move: Mapped[int] = mapped_column(BigId)
    """The alias move that put it there; rises, so that followers see a change and its order."""


class AliasMove(Base):
    """Append-only history of aliases: who was champion at any time."""

    __tablename__ = "alias_moves"
    __table_args__ = (Index(None, "model", "alias"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    model: Mapped[str]
    alias: Mapped[str]
    from_version: Mapped[int | None]
    to_version: Mapped[int | None]
    kind: Mapped[str]
    """`candidate`, `promotion` or `rollback`."""
    actor: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
