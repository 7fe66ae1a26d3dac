"""Models, their versions and reports, as operators look them up."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.storage.repositories import models, pipelines
from shared.storage.tables import Alias, ModelVersion, Report, TriggerDecision


@dataclass(frozen=True)
class ModelView:
    """A model, its aliases, and its newest version (0 before the first)."""

    name: str
    aliases: dict[str, int]
    newest_version: int


@dataclass(frozen=True)
class VersionView:
    """A version and its newest report; None before it was judged."""

    version: ModelVersion
    report: Report | None


def list_models(session: Session, limit: int, offset: int) -> list[ModelView]:
    """Models that are declared or have versions, by name."""
    named = {*pipelines.names(session), *session.scalars(select(ModelVersion.model).distinct())}
    names = sorted(named)[offset : offset + limit]
    newest = select(ModelVersion.model, func.max(ModelVersion.version)).where(ModelVersion.model.in_(names))
    numbers = {row[0]: row[1] for row in session.execute(newest.group_by(ModelVersion.model))}
    aliases: dict[str, dict[str, int]] = {name: {} for name in names}
    for row in session.scalars(select(Alias).where(Alias.model.in_(names))):
        aliases[row.model][row.alias] = row.version
    return [ModelView(name, aliases[name], numbers.get(name, 0)) for name in names]


def list_versions(session: Session, model: str, limit: int, offset: int) -> list[VersionView]:
    """Versions of a model, newest first. Raises NotFound for a model that nobody declared."""
    pipelines.get(session, model, deleted=True)
    query = select(ModelVersion).where(ModelVersion.model == model).order_by(ModelVersion.version.desc())
    return _with_reports(session, model, session.scalars(query.limit(limit).offset(offset)).all())


def get_version(session: Session, model: str, version: int) -> VersionView:
    """One version; 0 stands for the champion. Raises NotFound."""
    row = models.get_version(session, model, version)
    return VersionView(row, models.newest_report(session, model, row.version))


def get_report(session: Session, report_id: str, model: str, version: int) -> Report:
    """A report by id, else the newest one on a version, or on any version when it is 0. Raises NotFound."""
    report = session.get(Report, report_id) if report_id else models.newest_report(session, model, version)
    if report is None:
        what = report_id or (f"{model} version {version}" if version else f"{model}")
        raise NotFound(f"no evaluation report {'' if report_id else 'on '}{what}", model=model, report=report_id)
    return report


def list_decisions(session: Session, pipeline: str, limit: int, offset: int) -> list[TriggerDecision]:
    """What a pipeline's triggers decided, newest first. Raises NotFound."""
    pipelines.get(session, pipeline, deleted=True)
    query = select(TriggerDecision).where(TriggerDecision.pipeline == pipeline).order_by(TriggerDecision.id.desc())
    return list(session.scalars(query.limit(limit).offset(offset)))


def _with_reports(session: Session, model: str, rows: Sequence[ModelVersion]) -> list[VersionView]:
    numbers = [row.version for row in rows]
    query = select(Report).where(Report.model == model, Report.version.in_(numbers))
    newest = {report.version: report for report in session.scalars(query.order_by(Report.created_at, Report.id))}
    return [VersionView(row, newest.get(row.version)) for row in rows]
