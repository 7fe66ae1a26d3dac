"""What follows from an evaluation report."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import promotion
from shared.contracts import messages, routes
from shared.pipelines.schema import PipelineSpec
from shared.storage import outbox
from shared.storage.database import clock
from shared.storage.repositories import datasets, models, pipelines
from shared.storage.tables import Batch, DatasetVersionBatch, ModelVersion, Report
from shared.telemetry.logs import get_logger

ACTOR = "control"
log = get_logger(__name__)


def consider(session: Session, report_id: str) -> None:
    """Draws the consequence of a report, once: promotion, refusal, held batches, and the next dataset version."""
    report = session.get(Report, report_id)
    if report is None or report.considered_at is not None:
        return
    pipeline = pipelines.lock(session, report.model)
    session.refresh(report, with_for_update=True)
    if report.considered_at is not None or pipeline is None:
        return
    spec, row = PipelineSpec.model_validate(pipeline.spec), models.get_version(session, report.model, report.version)
    if report.verdict == "pass":
        _bless(session, row, report, automatic=spec.rollout.automatic and pipeline.deleted_at is None)
    else:
        _refuse(session, row, report, hold=spec.gate.hold_batches)
    report.considered_at = clock(session)
    session.flush()
    reconsider_newest(session, report.model)


def reconsider_newest(session: Session, pipeline: str) -> None:
    """Asks again about the newest dataset version: rows may have come in while a job was active."""
    newest = datasets.newest_sealed(session, pipeline)
    if newest is not None:
        message = messages.ConsiderDatasetVersion(pipeline=pipeline, version=newest.version)
        outbox.put(session, routes.CONSIDER_DATASET_VERSION, message)


def _bless(session: Session, row: ModelVersion, report: Report, *, automatic: bool) -> None:
    promotion.advance(session, row, "blessed")
    if row.state != "blessed":
        return
    promotion.nominate(session, row, ACTOR, f"report {report.id} says pass")
    champion = models.alias(session, row.model, models.CHAMPION)
    if champion != report.champion:
        log.warning("judged against another champion; left as candidate", model=row.model, version=row.version)
    elif automatic:
        promotion.promote(session, row.model, row.version, ACTOR, f"report {report.id} says pass")


def _refuse(session: Session, row: ModelVersion, report: Report, *, hold: bool) -> None:
    promotion.advance(session, row, "refused")
    champion = models.alias(session, row.model, models.CHAMPION)
    if not (hold and report.worse_than_champion and champion):
        return
    trusted = models.get_version(session, row.model, champion).dataset_version
    batches = _batches_beyond(session, row.model, row.dataset_version, trusted)
    if batches:
        why = f"version {row.version} was worse than version {champion}: " + "; ".join(promotion.failed_rules(report))
        message = messages.HoldBatches(pipeline=row.model, batches=batches, reason=why, report=report.id)
        outbox.put(session, routes.HOLD_BATCHES, message)


def _batches_beyond(session: Session, pipeline: str, version: int, trusted: int) -> list[str]:
    holds = DatasetVersionBatch
    known = select(holds.batch).where(holds.pipeline == pipeline, holds.version == trusted)
    beyond = select(holds.batch).join(Batch, Batch.id == holds.batch)
    beyond = beyond.where(holds.pipeline == pipeline, holds.version == version, holds.batch.not_in(known))
    return list(session.scalars(beyond.where(Batch.state == "accepted").order_by(holds.batch)))
