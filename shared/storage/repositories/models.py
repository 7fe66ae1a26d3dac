"""Model versions, aliases and the history of alias moves."""

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.pipelines.bases import MODEL_REFERENCE
from shared.storage.artifacts import ARTIFACT
from shared.storage.database import clock
from shared.storage.repositories import pipelines
from shared.storage.states import MODEL_VERSION_STATES, check_transition
from shared.storage.tables import Alias, AliasMove, ModelVersion, Report

CANDIDATE = "candidate"
CHAMPION = "champion"


def add_version(session: Session, **columns: Any) -> ModelVersion:
    """Records the version that a job made, under the model's next number; the same job gives the same version.

    `columns` are those of ModelVersion but `version`, `state` and `created_at`.
    """
    pipelines.lock(session, columns["model"])
    made = session.scalars(select(ModelVersion).where(ModelVersion.job == columns["job"])).one_or_none()
    if made is not None:
        return made
    number = newest_version(session, columns["model"]) + 1
    row = ModelVersion(version=number, state="trained", created_at=clock(session), **columns)
    session.add(row)
    session.flush()
    return row


def get_version(session: Session, model: str, version: int) -> ModelVersion:
    """One version; 0 stands for the champion. Raises NotFound."""
    number = version or alias(session, model, CHAMPION)
    if number is None:
        raise NotFound(f"model {model!r} has no champion", model=model)
    row = session.get(ModelVersion, (model, number))
    if row is None:
        newest = newest_version(session, model)
        rest = f"; its newest is {newest}" if newest else "; it has none yet"
        raise NotFound(f"model {model!r} has no version {number}{rest}", model=model, version=number)
    return row


def newest_version(session: Session, model: str) -> int:
    """Number of the newest version; 0 when there is none."""
    return session.scalar(select(func.max(ModelVersion.version)).where(ModelVersion.model == model)) or 0


def newest_report(session: Session, model: str, version: int = 0) -> Report | None:
    """The newest report on a version; on any version of the model when it is 0."""
    query = select(Report).where(Report.model == model)
    if version:
        query = query.where(Report.version == version)
    return session.scalars(query.order_by(Report.created_at.desc(), Report.id.desc()).limit(1)).one_or_none()


def move_version(session: Session, row: ModelVersion, to: str) -> None:
    """Moves a version's state. Raises IllegalTransition."""
    check_transition(MODEL_VERSION_STATES, f"{row.model} version {row.version}", row.state, to)
    row.state = to
    session.flush()


def alias(session: Session, model: str, alias: str) -> int | None:
    """The version that an alias points at; None when it points at nothing."""
    return session.scalar(select(Alias.version).where(Alias.model == model, Alias.alias == alias))


def aliases(session: Session, model: str) -> dict[str, int]:
    """Alias -> version, for those that point at something."""
    return {row.alias: row.version for row in session.scalars(select(Alias).where(Alias.model == model))}


def move_alias(
    session: Session, model: str, alias: str, to_version: int | None, kind: str, actor: str, reason: str
) -> AliasMove:
    """Points an alias at a version, or at nothing, and appends to the history."""
    row = session.get(Alias, (model, alias), with_for_update=True)
    move = AliasMove(
        model=model,
        alias=alias,
        from_version=row.version if row else None,
        to_version=to_version,
        kind=kind,
        actor=actor,
        reason=reason,
        created_at=clock(session),
    )
    session.add(move)
    session.flush()
    if to_version is None:
        if row is not None:
            session.delete(row)
    elif row is None:
        session.add(Alias(model=model, alias=alias, version=to_version, move=move.id))
    else:
        row.version, row.move = to_version, move.id
    session.flush()
    return move


def alias_at(session: Session, model: str, alias: str, at: datetime) -> int | None:
    """The version that an alias pointed at at a moment; None when it pointed at nothing."""
    earlier = select(AliasMove.to_version).where(
        AliasMove.model == model, AliasMove.alias == alias, AliasMove.created_at <= at
    )
    return session.scalars(earlier.order_by(AliasMove.id.desc()).limit(1)).one_or_none()


def pinned_base(session: Session, base: str, at: datetime) -> str:
    """What a pipeline's base means at a moment: `model:NAME@ALIAS` becomes `artifact:URI`, anything else stays.

    Raises NotFound when the alias pointed at nothing then.
    """
    match = MODEL_REFERENCE.fullmatch(base)
    if match is None:
        return base
    number = alias_at(session, match["model"], match["alias"], at)
    version = session.get(ModelVersion, (match["model"], number)) if number is not None else None
    if version is None:
        raise NotFound(f"base {base!r}: the alias pointed at no version at {at:%Y-%m-%d %H:%M:%S}", base=base)
    return f"{ARTIFACT}{version.weights_uri}"


def moves(session: Session, model: str, limit: int, offset: int = 0, alias: str | None = None) -> list[AliasMove]:
    """The history of a model's aliases, newest first."""
    query = select(AliasMove).where(AliasMove.model == model)
    if alias is not None:
        query = query.where(AliasMove.alias == alias)
    return list(session.scalars(query.order_by(AliasMove.id.desc()).limit(limit).offset(offset)))
