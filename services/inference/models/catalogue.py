"""What the database says: pipelines, aliases, versions, traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.inference.models.lineage import BASE_VERSION, Key, Lineage, VersionRecord
from services.inference.models.traffic import Share, Traffic
from shared.errors import NotFound
from shared.storage import tables
from shared.storage.database import Database, clock
from shared.storage.repositories import models
from shared.storage.tables import Alias, AliasMove, ModelVersion, Pipeline

MAX_HISTORY = 100


@dataclass(frozen=True)
class PointedAt:
    """The version behind an alias, and when the alias was moved there (the database's clock)."""

    version: int
    moved_at: datetime


@dataclass(frozen=True)
class AliasChange:
    """One move of an alias; version 0 is none. `kind` is candidate, promotion or rollback."""

    alias: str
    from_version: int
    to_version: int
    kind: str
    reason: str
    changed_at: datetime


@dataclass(frozen=True)
class Snapshot:
    """Aliases as (model, alias) -> version; kind of every declared pipeline; traffic by model."""

    aliases: Mapping[tuple[str, str], PointedAt]
    kinds: Mapping[str, str]
    traffic: Mapping[str, Traffic] = field(default_factory=dict)

    @cached_property
    def targets(self) -> frozenset[Key]:
        """Versions that aliases and traffic name."""
        pointed_at = (Key(model, target.version) for (model, _), target in self.aliases.items())
        sharing = (Key(one.model, version) for one in self.traffic.values() for version in one.versions)
        return frozenset((*pointed_at, *sharing))

    @property
    def known(self) -> list[str]:
        return sorted({*self.kinds, *(model for model, _ in self.aliases)})


class Catalogue:
    """Reads the tables that control and finetuning write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def snapshot(self) -> Snapshot:
        with self._database.read() as session:
            moved = select(Alias, AliasMove.created_at).join(AliasMove, AliasMove.id == Alias.move)
            aliases = {
                (row.model, row.alias): PointedAt(row.version, moved_at) for row, moved_at in session.execute(moved)
            }
            declared = select(Pipeline.name, Pipeline.spec).where(Pipeline.deleted_at.is_(None))
            kinds = {name: str(spec["kind"]) for name, spec in session.execute(declared)}
            return Snapshot(aliases, kinds, _traffic(session))

    def versions(self, model: str) -> set[int]:
        """The versions that a model has."""
        with self._database.read() as session:
            return set(session.scalars(select(ModelVersion.version).where(ModelVersion.model == model)))

    def history(self, model: str, version: int) -> list[AliasChange]:
        """The newest moves of a model's aliases to or from a version, oldest first."""
        touching = select(AliasMove).where(
            AliasMove.model == model, (AliasMove.to_version == version) | (AliasMove.from_version == version)
        )
        with self._database.read() as session:
            rows = session.scalars(touching.order_by(AliasMove.id.desc()).limit(MAX_HISTORY)).all()
            return [
                AliasChange(row.alias, row.from_version or 0, row.to_version or 0, row.kind, row.reason, row.created_at)
                for row in reversed(rows)
            ]

    def record(self, key: Key) -> VersionRecord:
        """Raises NotFound for a model or version that does not exist."""
        return self._base(key.model) if key.version == BASE_VERSION else self._version(key)

    def _version(self, key: Key) -> VersionRecord:
        with self._database.read() as session:
            row = models.get_version(session, key.model, key.version)
            report = models.newest_report(session, key.model, key.version)
            lineage = Lineage(
                model=row.model,
                version=row.version,
                weights_digest=row.weights_digest,
                adapter_digest=row.adapter_digest,
                run=row.run,
                dataset_version=row.dataset_version,
                report=report.id if report else "",
            )
            return VersionRecord(key, row.kind, row.base, row.method, row.weights_uri, lineage)

    def _base(self, model: str) -> VersionRecord:
        with self._database.read() as session:
            row = session.get(Pipeline, model)
            if row is None or row.deleted_at is not None:
                raise NotFound(f"there is no pipeline {model!r}", model=model)
            key = Key(model, BASE_VERSION)
            base = models.pinned_base(session, row.spec["base"], clock(session))
            return VersionRecord(key, row.spec["kind"], base, lineage=Lineage(model, BASE_VERSION))


def _traffic(session: Session) -> dict[str, Traffic]:
    return {
        row.model: Traffic(row.model, _shares(row.shares), _shares(row.shadows), row.set_at)
        for row in session.scalars(select(tables.Traffic))
    }


def _shares(pairs: list[list[float]]) -> tuple[Share, ...]:
    return tuple(Share(int(version), share) for version, share in pairs)
