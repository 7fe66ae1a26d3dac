"""Imports, run: taken by lease, fetched, read, and committed together with their batch.

The row is the truth: what waits is looked for in the database, and the queue's message only says that it is worth a look
now. So any number of messages, or none, is one batch, and a message never holds a thread of the queue's worker.
"""

import hashlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from sqlalchemy.orm import Session

from services.ingestion.intake.receiving import MAX_NAME_LENGTH, Header, Receiver, refuse_when_full
from services.ingestion.remote.fetching import Fetched, Fetcher
from services.ingestion.remote.places import Found, Place
from services.ingestion.remote.progress import Heart, Progress
from services.ingestion.remote.reading import FetchedRows, Manner
from services.ingestion.remote.uris import shown
from shared.config import Settings
from shared.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    FlywheelError,
    InvalidArgument,
    LeaseLost,
    NotFound,
    RetryableError,
    Unavailable,
    Unsupported,
)
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.leases import Lease
from shared.storage.repositories import imports, pipelines, sources
from shared.storage.tables import Batch, Import
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import INGESTION_IMPORT_BYTES, INGESTION_IMPORTS, INGESTION_SOURCE_ROWS

POLL_SECONDS = 2.0
OUTAGE_SECONDS = 24 * 3600.0
"""An import whose place does not answer is tried again for so long."""
LONGEST_PAUSE_SECONDS = 60.0
SHARE_OF_AGE = 0.1
"""A pause is at least this share of the time that an import has waited already."""
LONGEST_WAIT_SECONDS = 3600.0
"""Until the next try at a followed file whose failure may pass."""
LONGEST_WAIT_AFTER_A_STUMBLE = 24 * 3600.0
"""The same, when the file may be what made the service stumble."""
BY_CONTENT = (InvalidArgument, FailedPrecondition, Unsupported)
"""What lies there must change before another try makes sense."""
KEY_CHARACTERS = 40
LOOK_AT = 20
READ_AS = ("format", "encoding", "fields")
"""What a header says of how a file is read; read otherwise it is another batch."""
log = get_logger(__name__)


class Draining(Exception):
    """This process ends; another one goes on."""


class Importer:
    """Runs imports in threads of its own, at most so many at once."""

    def __init__(self, settings: Settings, database: Database, receiver: Receiver, fetcher: Fetcher) -> None:
        self._settings, self._database, self._receiver, self._fetcher = settings, database, receiver, fetcher
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{new_id('importer')[-9:]}"
        self._stop, self._wake, self._draining = threading.Event(), threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, name=f"import-{number}", daemon=True)
            for number in range(settings.import_threads)
        ]

    def start(self, draining: threading.Event | None = None) -> None:
        """`draining` ends what `stop` ends, before anybody calls that."""
        self._draining = draining or self._draining
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """There is something to look for."""
        self._wake.set()

    def stop(self, grace_seconds: float) -> None:
        """What runs is given back at its next row; what is being committed gets the grace."""
        self._stop.set()
        self._wake.set()
        ends = monotonic() + grace_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends - monotonic()))

    def run_next(self) -> bool:
        """Runs the oldest import that waits, to its end; False when there is none to take."""
        with self._database.read() as session:
            ids = imports.waiting(session, LOOK_AT)
        return any(self._run(id) for id in ids)

    def _ends(self) -> bool:
        return self._stop.is_set() or self._draining.is_set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._ends() and self.run_next():
                    self._wake.set()  # for the threads that wait beside this one
            except Unavailable as error:
                log.warning("imports can't be looked for", error=error.message)
            except Exception:
                log.exception("imports can't be looked for")
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()

    def _run(self, id: str) -> bool:
        with self._database.write() as session:
            lease = imports.take(session, id, self._owner, self._settings.lease_seconds)
            row = imports.get(session, id)
        if lease is None:
            return False
        if lease.attempt > self._settings.max_attempts:
            why = f"given up after {lease.attempt - 1} attempts; its worker ended each time"
            self._end(row, lease, why, LONGEST_WAIT_AFTER_A_STUMBLE)
            return True
        progress = Progress()
        with Heart(self._database, lease, row.pipeline, progress, self._settings.lease_seconds) as heart:
            turn = Turn(row, lease, progress, heart.lost, self._ends)
            outcome = self._outcome(turn)
        INGESTION_IMPORTS.labels(row.pipeline, outcome).inc()
        log.info("import's turn ended", id=id, pipeline=row.pipeline, outcome=outcome, rows=progress.rows)
        return True

    def _outcome(self, turn: "Turn") -> str:
        """Takes in, and says how it went. Whatever happens, the row says what comes next."""
        row, lease = turn.row, turn.lease
        try:
            with refuse_when_full():
                self._take_in(turn)
        except (LeaseLost, Cancelled):
            return "lost"
        except Draining:
            return self._again(row, lease, "its worker is ended", 0, counted=False)
        except (RetryableError, Aborted) as error:
            pause = error.retry_seconds if isinstance(error, RetryableError) else 1.0
            return self._again(row, lease, error.message, min(pause, LONGEST_PAUSE_SECONDS), counted=False)
        except FlywheelError as error:
            return self._end(row, lease, error.message, 0 if isinstance(error, BY_CONTENT) else LONGEST_WAIT_SECONDS)
        except Exception as error:
            log.exception("an import failed", id=row.id)
            why = f"{type(error).__name__}: {error}"
            if lease.attempt >= self._settings.max_attempts:
                return self._end(row, lease, why, LONGEST_WAIT_AFTER_A_STUMBLE)
            return self._again(row, lease, why, 2.0**lease.attempt, counted=True)
        return "succeeded"

    def _take_in(self, turn: "Turn") -> None:
        row, place = turn.row, self._fetcher.place(turn.row.uri)
        files = list(place.files())
        if not files:
            raise NotFound(f"no file lies below {shown(row.uri)}", uri=shown(row.uri))
        turn.progress.total_bytes = sum(found.size or 0 for found in files)
        first = None if all(found.identity for found in files) else self._fetch(place, files[0], turn)
        if first:
            files = [first.found]
            turn.progress.total_bytes = first.found.size or 0
        try:
            self._receive(turn, place, files, first)
        finally:
            if first:
                first.file.close()

    def _receive(self, turn: "Turn", place: Place, files: Sequence[Found], first: Fetched | None) -> None:
        header = _header(turn.row, batch_key=turn.row.batch_key or _key(turn.row, files))

        def with_commit(session: Session, batch: Batch) -> None:
            imports.finish(session, turn.lease, batch.id, turn.figures())
            if turn.row.source:
                sources.add_rows(session, turn.row.pipeline, turn.row.source, batch.received)

        fetched = (first or self._fetch(place, found, turn) for found in files)
        rows = FetchedRows(fetched, self._manner(turn.row), turn.progress, turn.check)
        answer = self._receiver.receive(header, rows, with_commit)
        if turn.row.source and not answer.repeated:
            INGESTION_SOURCE_ROWS.labels(turn.row.pipeline, turn.row.source).inc(answer.batch.received)
        if answer.repeated:
            with self._database.write() as session:
                imports.finish(session, turn.lease, answer.batch.id, turn.figures())

    def _manner(self, row: Import) -> Manner:
        with self._database.read() as session:
            product = pipelines.spec(session, row.pipeline).data.fields
        return Manner(
            limit=self._settings.max_row_bytes,
            folder=self._settings.home / "ingestion",
            format=row.header.get("format", ""),
            encoding=row.header.get("encoding", ""),
            own_fields=row.header.get("fields") or {},
            product_fields=product,
        )

    def _fetch(self, place: Place, found: Found, turn: "Turn") -> Fetched:
        fetched_bytes = INGESTION_IMPORT_BYTES.labels(turn.row.pipeline)

        def advance(size: int) -> None:
            turn.check()
            turn.progress.fetched_bytes += size
            fetched_bytes.inc(size)

        return self._fetcher.fetch(place, found, advance)

    def _again(self, row: Import, lease: Lease, why: str, seconds: float, *, counted: bool) -> str:
        with self._database.write() as session:
            age = (clock(session) - row.created_at).total_seconds()
            if age > OUTAGE_SECONDS:
                imports.fail(session, lease, why, LONGEST_WAIT_SECONDS)
                return "failed"
            pause = max(seconds, min(SHARE_OF_AGE * age, LONGEST_PAUSE_SECONDS)) if seconds else 0
            imports.give_back(session, lease, why, pause, counted=counted)
        return "retry"

    def _end(self, row: Import, lease: Lease, why: str, longest_wait: float) -> str:
        """`longest_wait` is as in `imports.fail`."""
        with self._database.write() as session:
            imports.fail(session, lease, why, longest_wait)
        log.warning("an import came to nothing", id=row.id, pipeline=row.pipeline, reason=why)
        return "failed"


class Turn:
    """One attempt at an import."""

    def __init__(
        self, row: Import, lease: Lease, progress: Progress, lost: threading.Event, ends: Callable[[], bool]
    ) -> None:
        self.row, self.lease, self.progress = row, lease, progress
        self._lost, self._ends = lost, ends

    def check(self) -> None:
        """Raises LeaseLost when it is not ours any more, Draining when this process ends."""
        if self._lost.is_set():
            raise LeaseLost(f"import {self.row.id} was cancelled, or another worker has it", id=self.row.id)
        if self._ends():
            raise Draining

    def figures(self) -> imports.Figures:
        return self.progress.figures()


def _header(row: Import, batch_key: str) -> Header:
    source = str(row.header.get("source") or shown(row.uri))[:MAX_NAME_LENGTH]
    return Header(row.pipeline, batch_key, source, licence=str(row.header.get("licence", "")))


def _key(row: Import, files: Sequence[Found]) -> str:
    """The same for the same bytes at the same place read in the same way, whoever asks and how often."""
    digest = hashlib.sha256(repr((row.uri, *(row.header.get(key) for key in READ_AS))).encode())
    for found in files:
        digest.update(f"\n{found.name}\0{found.identity}".encode())
    return f"uri-{digest.hexdigest()[:KEY_CHARACTERS]}"
