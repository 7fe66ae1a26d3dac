"""Asking for imports, and what people see of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from sqlalchemy.orm import Session

from services.ingestion.reading.sniffing import check_format
from services.ingestion.remote.policy import Policy
from services.ingestion.remote.uris import parse_uri, shown
from shared.errors import InvalidArgument, ResourceExhausted
from shared.rpc import callers
from shared.storage.database import Database, clock
from shared.storage.repositories import batches, imports, pipelines
from shared.storage.states import IMPORT_ENDED
from shared.storage.tables import AuditEntry, Batch, Import
from shared.telemetry.logs import get_logger

MAX_NAME_LENGTH = 256
POLL_SECONDS = 0.3
MAX_WATCHERS = 12
ANYBODY = "operator"
"""Where no keys are configured."""
log = get_logger(__name__)


@dataclass(frozen=True)
class Wish:
    """What a caller says of an import."""

    pipeline: str
    uri: str
    batch_key: str = ""
    source: str = ""
    format: str = ""
    encoding: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ImportView:
    """An import with its batch."""

    row: Import
    batch: Batch | None


class ImportDesk:
    """What the doors call. Everything raises NotFound for an import or pipeline that is not there."""

    def __init__(self, database: Database, policy: Policy, wake: Callable[[], None]) -> None:
        self._database, self._policy, self._wake = database, policy, wake
        self._places = BoundedSemaphore(MAX_WATCHERS)

    def ask(self, wish: Wish) -> ImportView:
        """Queues an import. The same pipeline, batch key and URI give the same one, unless it came to nothing.

        Raises InvalidArgument, or PermissionDenied for what the operator does not allow.
        """
        _check_names(wish)
        check_format(wish.format)
        self._policy.check(parse_uri(wish.uri))
        with self._database.write() as session:
            pipelines.get(session, wish.pipeline)
            row = imports.by_key(session, wish.pipeline, wish.batch_key, wish.uri) if wish.batch_key else None
            if row is None:
                said = {
                    "source": wish.source,
                    "format": wish.format,
                    "encoding": wish.encoding,
                    "licence": wish.licence,
                }
                row = imports.ask(session, wish.pipeline, wish.uri, said, batch_key=wish.batch_key)
                _audit(session, "import_uri", row.id, pipeline=wish.pipeline, uri=shown(wish.uri))
        self._wake()
        return self.view(row.id)

    def view(self, id: str) -> ImportView:
        with self._database.read() as session:
            row = imports.get(session, id)
            return ImportView(row, batches.get(session, row.batch) if row.batch else None)

    def page(self, pipeline: str, limit: int, offset: int) -> list[ImportView]:
        """Newest first; of every pipeline when none is named."""
        with self._database.read() as session:
            if pipeline:
                pipelines.get(session, pipeline)
            rows = imports.page(session, pipeline, limit, offset)
            return [ImportView(row, batches.get(session, row.batch) if row.batch else None) for row in rows]

    def cancel(self, id: str, reason: str) -> ImportView:
        """Ends an import; nothing of it is kept. Raises IllegalTransition for one that has ended."""
        with self._database.write() as session:
            before = imports.get(session, id).state
            row = imports.cancel(session, id, reason)
            if row.state != before:
                _audit(session, "cancel_import", id, pipeline=row.pipeline, reason=reason)
        log.info("import cancelled", id=id, reason=reason)
        return self.view(id)

    def watch(self, id: str, wanted: Callable[[], bool]) -> Iterator[ImportView]:
        """The import whenever it has changed, until it has ended or nobody wants more.

        Raises ResourceExhausted when too many watch already.
        """
        with self._place():
            last = None
            while wanted():
                now = self.view(id)
                seen = _shape(now.row)
                if seen != last:
                    last = seen
                    yield now
                if now.row.state in IMPORT_ENDED:
                    return
                time.sleep(POLL_SECONDS)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise ResourceExhausted("too many imports are being watched at once; try again later", retry_seconds=5)
        try:
            yield
        finally:
            self._places.release()


def _shape(row: Import) -> tuple[object, ...]:
    return row.state, row.reason, row.bytes, row.total_bytes, row.rows, row.rows_per_second, row.batch


def _check_names(wish: Wish) -> None:
    for field in ("batch_key", "source", "format", "encoding", "licence"):
        value: str = getattr(wish, field)
        if len(value) > MAX_NAME_LENGTH or not value.isprintable():
            raise InvalidArgument(f"{field} must be at most {MAX_NAME_LENGTH} printable characters", field=field)


def _audit(session: Session, action: str, target: str, **detail: str) -> None:
    """Whose key had the platform fetch what."""
    actor = callers.tenant() or ANYBODY
    session.add(AuditEntry(actor=actor, action=action, target=target, detail=detail, created_at=clock(session)))
