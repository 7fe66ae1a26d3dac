"""Deleting rows: files are written without them beside the old ones, then one transaction makes it true.

Before that commit nothing has changed and what was written is swept; after it nothing names the old files any more.
So a deletion that is killed anywhere is either done or has left no trace, and sending it again finishes it.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy.orm import Session

from services.ingestion.deleting.finding import Finder, Found, Wanted, check_wanted, seen_by_versions, taught
from services.ingestion.deleting.rewriting import Rewriter, Rewritten
from services.ingestion.index.indexes import Indexes
from services.ingestion.storing.sweeping import Sweeper
from services.ingestion.versions.retention import expire
from shared.contracts.messages import BuildDatasetVersion
from shared.contracts.routes import BUILD_DATASET_VERSION
from shared.errors import Aborted, FlywheelError
from shared.storage import outbox
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.repositories import deletions, pipelines, row_index
from shared.storage.tables import AuditEntry, Batch, DatasetVersion, Deletion
from shared.telemetry.logs import get_logger

ATTEMPTS = 10
log = get_logger(__name__)


class Overtaken(Exception):
    """A batch was rewritten or released between the look at it and the commit."""


class Deleter:
    """Removes rows from batches, and from every dataset version that can be read."""

    def __init__(
        self, database: Database, artifacts: Artifacts, indexes: Indexes, sweeper: Sweeper, folder: Path
    ) -> None:
        self._database, self._artifacts, self._sweeper = database, artifacts, sweeper
        self._finder, self._rewriter = Finder(database, artifacts, indexes), Rewriter(artifacts, folder)

    def delete(
        self, pipeline: str, rows: list[str], sources: list[str], reason: str, actor: str
    ) -> tuple[Deletion, list[str]]:
        """Returns what was done, and the ids that the dataset does not have. Asked again, the same as before.

        Raises NotFound, InvalidArgument for what can't be meant, DataCorrupted when a part is not as it was written,
        Aborted when the batches keep changing.
        """
        wanted = check_wanted(pipeline, rows, sources, reason)
        for _ in range(ATTEMPTS):
            found = self._finder.find(wanted)
            if not found.row_ids and (earlier := self._earlier(wanted, found)):
                return earlier, []
            if not found.row_ids and not found.batches:
                return _nothing(pipeline), list(found.unknown)
            try:
                deletion = self._remove(wanted, found, reason, actor)
            except Overtaken:
                continue
            log.info(
                "rows deleted", pipeline=pipeline, deletion=deletion.id, rows=deletion.rows, batches=deletion.batches
            )
            return deletion, list(found.unknown)
        raise Aborted(f"batches of pipeline {pipeline!r} keep changing; ask again", pipeline=pipeline)

    def _remove(self, wanted: Wanted, found: Found, reason: str, actor: str) -> Deletion:
        with self._database.read() as session:
            spec = pipelines.spec(session, wanted.pipeline, deleted=True)
        rewritten: dict[str, Rewritten] = {}
        journals: dict[str, tuple[str, str]] = {}
        try:
            for id, batch in found.batches.items():
                gone = None if batch.source in wanted.sources else found.row_ids
                rewritten[id] = self._rewriter.without(batch, spec, gone)
            for id, batch in found.mentions.items():
                journals[id] = self._rewriter.journal(batch, found.row_ids)
            with self._database.write() as session:
                pipelines.lock(session, wanted.pipeline)
                _rewrite_journals(session, found, journals)
                deletion = self._commit(session, wanted, found, rewritten, reason, actor)
        finally:
            self._sweep(wanted.pipeline, found, rewritten, journals)
        return deletion

    def _commit(
        self,
        session: Session,
        wanted: Wanted,
        found: Found,
        rewritten: Mapping[str, Rewritten],
        reason: str,
        actor: str,
    ) -> Deletion:
        now = clock(session)
        for id, batch in found.batches.items():
            row = session.get_one(Batch, id)
            if (row.part_uri, row.journal_uri) != (batch.part_uri, batch.journal_uri):
                raise Overtaken
            for column, value in rewritten[id].columns.items():
                setattr(row, column, value)
            row.updated_at = now
            row_index.changed(session, row)
        deletions.forget_texts(session, [id for id, one in rewritten.items() if not one.rows])
        seen, taught_by = seen_by_versions(session, self._artifacts, wanted.pipeline, found)
        id = new_id("deletion")
        _expire(session, seen, f"rows of it were deleted ({id})", actor)
        models = deletions.descended(session, wanted.pipeline, taught(session, wanted.pipeline, taught_by))
        deletion = Deletion(
            id=id,
            pipeline=wanted.pipeline,
            digests=sorted(map(deletions.mark, sorted(found.row_ids)[: deletions.MOST_MARKS])),
            sources=sorted(wanted.sources),
            rows=len(found.row_ids),
            batches=sorted(found.batches),
            dataset_versions=[version.version for version in seen],
            model_versions=models,
            reason=reason,
            actor=actor,
            created_at=now,
        )
        session.add_all((deletion, _audit(deletion)))
        outbox.put(session, BUILD_DATASET_VERSION, BuildDatasetVersion(pipeline=wanted.pipeline))
        return deletion

    def _earlier(self, wanted: Wanted, found: Found) -> Deletion | None:
        """The deletion that did this already; None when nobody asked for it since the newest of its batches came."""
        marks = set(map(deletions.mark, wanted.rows))
        with self._database.read() as session:
            for one in deletions.of_pipeline(session, wanted.pipeline):
                is_newer = all(one.created_at >= batch.created_at for batch in found.batches.values())
                if is_newer and marks <= set(one.digests) and wanted.sources <= set(one.sources):
                    return one
        return None

    def _sweep(
        self,
        pipeline: str,
        found: Found,
        rewritten: Mapping[str, Rewritten],
        journals: Mapping[str, tuple[str, str]],
    ) -> None:
        """Files of before, or, when it was not done, those that were written for it."""
        batches = found.batches.values()
        old = [uri for one in batches for uri in (one.part_uri, one.journal_uri, one.index_uri) if uri]
        new = [uri for one in rewritten.values() for uri in (one.part[0], one.journal[0], one.index[0]) if uri]
        told = [one.journal_uri for one in found.mentions.values()] + [uri for uri, _ in journals.values() if uri]
        with suppress(FlywheelError, OSError):  # what stays behind now is swept later
            self._sweeper.remove(pipeline, {*old, *new, *told, *found.old})


def _rewrite_journals(session: Session, found: Found, journals: Mapping[str, tuple[str, str]]) -> None:
    for id, batch in found.mentions.items():
        row = session.get_one(Batch, id)
        if row.journal_uri != batch.journal_uri:
            raise Overtaken
        row.journal_uri, row.journal_digest = journals[id]


def _nothing(pipeline: str) -> Deletion:
    """Of a deletion that found nothing; it is not kept."""
    return Deletion(id="", pipeline=pipeline, rows=0, batches=[], dataset_versions=[], model_versions=[])


def _expire(session: Session, seen: list[DatasetVersion], reason: str, actor: str) -> None:
    for version in seen:
        if version.state == "sealed":
            expire(session, version, reason, actor)


def _audit(deletion: Deletion) -> AuditEntry:
    detail = {"id": deletion.id, "rows": deletion.rows, "sources": deletion.sources, "reason": deletion.reason}
    return AuditEntry(
        actor=deletion.actor,
        action="delete_rows",
        target=deletion.pipeline,
        detail=detail,
        created_at=deletion.created_at,
    )
