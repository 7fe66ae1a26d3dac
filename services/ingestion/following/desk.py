"""What people see of the sources that pipelines follow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from services.ingestion.remote.uris import shown
from shared.pipelines.sources import FollowedSource
from shared.storage.database import Database
from shared.storage.repositories import imports, pipelines, sources
from shared.storage.tables import SourceState


@dataclass(frozen=True)
class SourceView:
    """A source, and where it stands; `seen_at` is None before its first look."""

    pipeline: str
    name: str
    kind: str
    uri: str
    pending: int
    rows: int
    error: str
    seen_at: datetime | None


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
    pending, error = (state.pending, state.error) if state else (0, "")
    if not source.stream:
        pending += imports.under_way(session, pipeline, source.name)
        error = error or last_failure(session, pipeline, source.name)
    rows, seen_at = (state.rows, state.seen_at) if state else (0, None)
    return SourceView(pipeline, source.name, source.kind, uri, pending, rows, error, seen_at)


def last_failure(session: Session, pipeline: str, source: str) -> str:
    """Why the import of a source that ended last came to nothing; empty when it did not."""
    last = imports.last_ended(session, pipeline, source)
    return f"{shown(last.uri)}: {last.reason}" if last and last.state == "failed" else ""
