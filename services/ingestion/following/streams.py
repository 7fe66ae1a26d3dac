"""A Redis Stream, followed: entries become rows, batch by batch, and are acknowledged once their batch is committed.

What was committed and not yet acknowledged stands in the source's cursor, written in the transaction of the batch. So an
entry that is delivered again, in whatever company, is known for done.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from services.ingestion.following.entries import rows_of, unusable
from services.ingestion.intake.receiving import Header, Receiver
from services.ingestion.reading.received import Received
from services.ingestion.remote.mapping import renamed
from shared.config import Settings
from shared.errors import Aborted, FlywheelError, NotFound
from shared.messaging.streams import BEGINNING, Entry, StreamGroup, order, stream_server
from shared.pipelines.schema import PipelineSpec
from shared.pipelines.sources import FollowedSource
from shared.storage.database import Database
from shared.storage.repositories import sources
from shared.storage.tables import Batch
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

CLAIM_SECONDS = 60.0
"""An entry that a consumer did not finish in this time, beyond the time that a batch may wait, goes to another one."""
READ_AT_ONCE = 500
BLOCK_SECONDS = 0.5
NOTE_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
log = get_logger(__name__)


class Stumble(NamedTuple):
    """An entry, and what it makes the service raise."""

    entry: Entry
    trouble: Exception


class StreamFollower:
    """One consumer of one stream, run in a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        receiver: Receiver,
        spec: PipelineSpec,
        source: FollowedSource,
        consumer: str,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        self._settings, self._database, self._receiver = settings, database, receiver
        self._spec, self._source, self._consumer = spec, source, consumer
        self._idle_seconds = claim_seconds + source.batch_seconds
        self._buffer: dict[str, Entry] = {}
        self._since = 0.0
        self._owed: list[str] = []
        """Committed, and not acknowledged yet."""
        self._done = ""
        self._next_claim = self._next_note = 0.0

    def run(self, stop: threading.Event) -> None:
        """Follows until `stop`; a server or database that is away is waited for."""
        pause = FIRST_PAUSE_SECONDS
        while not stop.is_set():
            try:
                with stream_server(self._settings, self._source.redis) as client:
                    group = StreamGroup(client, self._source.stream, f"flywheel-{self._spec.name}", self._consumer)
                    self._restart(group)
                    while not stop.is_set():
                        self.step(group)
                        pause = pause if self._buffer else FIRST_PAUSE_SECONDS
                    self._commit(group)
            except Exception as error:
                self._tell(error)
                stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def step(self, group: StreamGroup) -> None:
        """Reads a little, and commits when a batch is full or old enough."""
        try:
            self._take(group)
        except NotFound:
            self._restart(group)
            return
        old = self._buffer and time.monotonic() - self._since >= self._source.batch_seconds
        if old or len(self._buffer) >= self._source.batch_rows:
            self._commit(group)
        if time.monotonic() >= self._next_note:
            self._note(group)

    def _restart(self, group: StreamGroup) -> None:
        with self._database.read() as session:
            state = sources.find(session, self._spec.name, self._source.name)
        known = str(state.cursor.get("done", "")) if state else ""
        self._done = max(known, self._done, key=lambda id: order(id or BEGINNING))
        group.make(self._done)
        self._pay(group)
        self._next_note = 0.0

    def _take(self, group: StreamGroup) -> None:
        room = min(READ_AT_ONCE, self._source.batch_rows - len(self._buffer))
        if room <= 0:  # a full batch could not be committed
            return
        found: list[Entry] = []
        if time.monotonic() >= self._next_claim:
            found = group.claim(self._idle_seconds, room)
            if not found:
                self._next_claim = time.monotonic() + self._idle_seconds / 2
        if not found:
            found = group.read(room, min(BLOCK_SECONDS, self._source.batch_seconds))
        if found and not self._buffer:
            self._since = time.monotonic()
        self._buffer.update((entry.id, entry) for entry in found)

    def _commit(self, group: StreamGroup) -> None:
        """Commits what is held; what another consumer took over, or committed before it fell silent, is left out."""
        held = group.keep(list(self._buffer))
        done = self._committed() & set(held)
        self._owed += [id for id in held if id in done]
        self._pay(group)
        entries = [self._buffer[id] for id in held if id not in done]
        stumbled = self._receive(group, entries) if entries else []
        if stumbled and len(stumbled) == len(entries):  # then it is not the entries that are wrong
            raise stumbled[0].trouble
        for entry, trouble in stumbled:
            log.error("an entry can't be taken in", source=self._source.name, id=entry.id, error=repr(trouble))
            self._take_in([entry], unusable([entry], type(trouble).__name__))
            self._settle(group, [entry])
        self._buffer.clear()

    def _receive(self, group: StreamGroup, entries: Sequence[Entry]) -> list["Stumble"]:
        """One batch; halved while the service stumbles over it. Returns the entries that it stumbles over even alone."""
        try:
            self._take_in(entries, rows_of(entries, self._settings.max_row_bytes))
        except FlywheelError:
            raise
        except Exception as error:
            trouble = error
        else:
            self._settle(group, entries)
            return []
        if len(entries) == 1:
            return [Stumble(entries[0], trouble)]
        middle = len(entries) // 2
        return self._receive(group, entries[:middle]) + self._receive(group, entries[middle:])

    def _settle(self, group: StreamGroup, entries: Sequence[Entry]) -> None:
        self._owed += [entry.id for entry in entries]
        for entry in entries:
            self._buffer.pop(entry.id, None)
        self._pay(group)

    def _take_in(self, entries: Sequence[Entry], rows: Iterator[Received]) -> None:
        source, spec = self._source, self._spec
        header = Header(spec.name, _key(source.name, entries), source.name)

        def with_commit(session: Session, batch: Batch) -> None:
            sources.add_rows(session, spec.name, source.name, batch.received, self._remember(entries))

        answer = self._receiver.receive(header, renamed(rows, source.fields, spec.data.fields), with_commit)
        if not answer.repeated:
            metrics.INGESTION_SOURCE_ROWS.labels(spec.name, source.name).inc(answer.batch.received)

    def _remember(self, entries: Sequence[Entry]) -> Any:
        """Writes into the cursor what this batch brings. Raises Aborted when another consumer brought some of it."""
        ids = [entry.id for entry in entries]

        def change(cursor: dict[str, Any]) -> None:
            committed: dict[str, list[str]] = dict(cursor.get("committed", {}))
            others = {id for consumer, done in committed.items() if consumer != self._consumer for id in done}
            if others & set(ids):
                raise Aborted("another consumer committed some of these entries")
            committed[self._consumer] = ids
            cursor["committed"] = committed

        return change

    def _committed(self) -> set[str]:
        with self._database.read() as session:
            state = sources.find(session, self._spec.name, self._source.name)
        committed: Mapping[str, list[str]] = state.cursor.get("committed", {}) if state else {}
        return {id for done in committed.values() for id in done}

    def _pay(self, group: StreamGroup) -> None:
        if self._owed:
            group.acknowledge(self._owed)
            self._owed = []

    def _note(self, group: StreamGroup) -> None:
        """Tells how the stream stands; records of consumers that hold nothing any more are dropped."""
        self._next_note = time.monotonic() + NOTE_SECONDS
        name, source = self._spec.name, self._source.name
        with self._database.read() as session:
            before = sources.find(session, name, source)
        records = dict(before.cursor.get("committed", {})) if before else {}
        holders, standing = group.holders(), group.standing()
        self._done = standing.done
        waiting = standing.unread + standing.pending
        metrics.INGESTION_SOURCE_PENDING.labels(name, source).set(waiting)
        metrics.INGESTION_SOURCE_FAILING.labels(name, source).set(0)
        with self._database.write() as session:
            sources.note(session, name, source, pending=waiting, error="")
            row = sources.held(session, name, source)
            committed = {
                consumer: ids
                for consumer, ids in row.cursor.get("committed", {}).items()
                if consumer in holders or records.get(consumer) != ids
            }
            row.cursor = {"committed": committed, "done": standing.done}

    def _tell(self, error: Exception) -> None:
        words = error.message if isinstance(error, FlywheelError) else f"{type(error).__name__}: {error}"
        log.warning("a stream is not followed", pipeline=self._spec.name, source=self._source.name, error=words)
        metrics.INGESTION_SOURCE_FAILING.labels(self._spec.name, self._source.name).set(1)
        try:
            with self._database.write() as session:
                sources.note(session, self._spec.name, self._source.name, error=words)
        except FlywheelError:
            log.warning("what is wrong with a source can't be noted", source=self._source.name)


def _key(source: str, entries: Sequence[Entry]) -> str:
    """First and last id, and what the entries hold: a stream that begins anew may use ids again."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(repr((entry.id, sorted(entry.fields.items()))).encode())
    return f"{source}:{entries[0].id}:{entries[-1].id}:{digest.hexdigest()[:16]}"
