"""What people see of the sources that pipelines follow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from services.ingestion.remote.uris import shown
from shared.pipelines.sources import FollowedSource
from shared.storage.database import Database
from shared.storage.repositories import failed_imports, imports, pipelines, sources
from shared.storage.repositories.failed_imports import Trouble
from shared.storage.tables import SourceState


@dataclass(frozen=True)
class SourceView:
    """A source, and where it stands; `seen_at` is None before its first look.

    Of files that are there and not in, `retrying` are tried again, the first at `next_try_at`; `refused` ones must change.
    """

    pipeline: str
    name: str
    kind: str
    uri: str
    pending: int
    rows: int
    error: str
    seen_at: datetime | None
    retrying: int = 0
    refused: int = 0
    next_try_at: datetime | None = None


class SourceDesk:
    """What the door calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, pipeline: str) -> list[SourceView]:
        """Sources of a pipeline, or of all. Raises NotFound for a pipeline that is not there."""
        with self._database.read() as session:
            names = [pipelines.get(session, pipeline).name] if pipeline else pipelines.names(session)
            return [view for name in names for view in _of_pipeline(session, name)]


def _of_pipeline(session: Session, pipeline: str) -> Iterator[SourceView]:
    declared = pipelines.spec(session, pipeline).data.sources
    states = sources.all_of(session, pipeline) if declared else {}
    for source in declared:
        yield _view(session, pipeline, source, states.get(source.name))


def _view(session: Session, pipeline: str, source: FollowedSource, state: SourceState | None) -> SourceView:
    uri = f"stream {source.stream} of {source.redis or 'the broker'}" if source.stream else shown(source.full_uri)
    pending, rows, error = (state.pending, state.rows, state.error) if state else (0, 0, "")
    trouble = Trouble()
    if not source.stream:
        pending += imports.under_way(session, pipeline, source.name)
        trouble = failed_imports.trouble(session, pipeline, source.name)
    return SourceView(
        pipeline=pipeline,
        name=source.name,
        kind=source.kind,
        uri=uri,
        pending=pending,
        rows=rows,
        error=error or _words(trouble),
        seen_at=state.seen_at if state else None,
        retrying=trouble.retrying,
        refused=trouble.refused,
        next_try_at=trouble.next_try_at,
    )


def _words(trouble: Trouble) -> str:
    """The newest failure, and what becomes of the files that failed; empty when none did."""
    if not trouble.reason:
        return ""
    fates = ((trouble.retrying, "tried again"), (trouble.refused, "left out until changed"))
    told = ", ".join(f"{count} {'file' if count == 1 else 'files'} {fate}" for count, fate in fates if count)
    return f"{shown(trouble.uri)}: {trouble.reason} ({told})"
