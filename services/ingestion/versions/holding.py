"""Keeping batches out of later dataset versions, and letting them in again."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from services.ingestion.index.indexes import Indexes
from services.ingestion.intake.receiving import draft_columns, refuse_when_full
from services.ingestion.storing.parts import Overtaken, Parts, StoredPart
from services.ingestion.versions.releasing import Released
from shared.contracts.messages import BuildDatasetVersion
from shared.contracts.routes import BUILD_DATASET_VERSION
from shared.errors import Aborted
from shared.pipelines.schema import PipelineSpec
from shared.storage import outbox
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.repositories import batches, pipelines, row_index
from shared.storage.tables import AuditEntry, Batch
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class Holding:
    """Holds and releases. Doing either twice changes nothing."""

    def __init__(self, database: Database, artifacts: Artifacts, parts: Parts, indexes: Indexes, folder: Path) -> None:
        self._database, self._artifacts, self._parts = database, artifacts, parts
        self._indexes, self._folder = indexes, folder

    def hold(self, id: str, reason: str, actor: str) -> Batch:
        """Raises NotFound, or IllegalTransition for a rejected batch."""
        with self._database.write() as session:
            batch = _locked(session, id)
            if batch.state != "held":
                _hold(session, batch, reason, actor)
                _ask_for_version(session, batch.pipeline)
            return batch

    def hold_all(self, pipeline: str, ids: Sequence[str], reason: str, actor: str) -> list[str]:
        """Holds those of the pipeline's batches that are accepted, together. Returns their ids."""
        with self._database.write() as session:
            pipelines.lock(session, pipeline)
            found = [batch for id in ids if (batch := session.get(Batch, id)) and batch.pipeline == pipeline]
            accepted = [batch for batch in found if batch.state == "accepted"]
            for batch in accepted:
                _hold(session, batch, reason, actor)
            if accepted:
                _ask_for_version(session, pipeline)
            return [batch.id for batch in accepted]

    def release(self, id: str, reason: str, actor: str) -> Batch:
        """Lets a held batch into the next version, without the rows that other batches brought meanwhile.

        Raises NotFound, IllegalTransition for a rejected batch, DataCorrupted when its part is not as written, Aborted
        when rows of it are deleted meanwhile.
        """
        with self._database.read() as session:
            batch = batches.get(session, id)
            spec = pipelines.spec(session, batch.pipeline)
        if batch.state == "accepted":
            return batch
        with refuse_when_full():
            draft = Released(batch, spec, self._artifacts, self._indexes, self._folder)

            def record(draft: Released, part: StoredPart) -> Batch:
                return self._let_in(spec, batch, draft, part, reason, actor)

            return self._parts.publish(batch.pipeline, id, draft, record)

    def _let_in(
        self, spec: PipelineSpec, before: Batch, draft: Released, part: StoredPart, reason: str, actor: str
    ) -> Batch:
        with self._database.write() as session:
            batch = _locked(session, before.id)
            if batch.state == "accepted":
                return batch
            if batch.part_uri != before.part_uri:
                raise Aborted(f"rows of batch {batch.id} were deleted meanwhile; ask again", batch=batch.id)
            if draft.is_overtaken(self._indexes.view_in(session, spec)):
                raise Overtaken
            batches.move(session, batch, "accepted", reason)
            row_index.changed(session, batch)
            for column, value in draft_columns(draft, part).items():
                setattr(batch, column, value)
            _audit(session, "release_batch", batch, reason, actor)
            _ask_for_version(session, batch.pipeline)
            return batch


def _locked(session: Session, id: str) -> Batch:
    batch = batches.get(session, id)
    pipelines.lock(session, batch.pipeline)
    session.refresh(batch)
    return batch


def _hold(session: Session, batch: Batch, reason: str, actor: str) -> None:
    batches.move(session, batch, "held", reason)
    batch.test_eligible = False
    row_index.changed(session, batch)
    _audit(session, "hold_batch", batch, reason, actor)
    log.info("batch held", batch=batch.id, pipeline=batch.pipeline, reason=reason, actor=actor)


def _ask_for_version(session: Session, pipeline: str) -> None:
    outbox.put(session, BUILD_DATASET_VERSION, BuildDatasetVersion(pipeline=pipeline))


def _audit(session: Session, action: str, batch: Batch, reason: str, actor: str) -> None:
    detail = {"pipeline": batch.pipeline, "reason": reason}
    session.add(AuditEntry(actor=actor, action=action, target=batch.id, detail=detail, created_at=clock(session)))
