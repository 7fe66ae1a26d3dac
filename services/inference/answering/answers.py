"""What was answered, kept for a day, so that feedback and lineage can refer to a request id."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete

from services.inference.models.lineage import Lineage
from shared.errors import FlywheelError, NotFound
from shared.storage import tables
from shared.storage.database import Database, clock
from shared.telemetry.logs import get_logger

KEPT = timedelta(days=1)
FLUSH_SECONDS = 0.2
CLEAN_EVERY = 3000  # flushes, about ten minutes
MAX_PENDING = 10_000
BATCH = 500

log = get_logger(__name__)


@dataclass(frozen=True)
class Times:
    """Seconds; `first_token` is None where there are no tokens."""

    queue: float
    compute: float
    total: float
    first_token: float | None = None


@dataclass(frozen=True)
class Answer:
    """One answered request. `input` and `output` are those of `Classify` or `Generate`, as JSON."""

    request_id: str
    method: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    lineage: Lineage
    times: Times
    created_at: datetime


class AnswerLog:
    """Remembers at once, writes in batches from its own thread.

    When the database is away answers wait in memory; past a limit the oldest are given up.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left."""
        self._stopping.set()
        self._thread.join()
        self._flush()

    def add(
        self,
        request_id: str,
        method: str,
        asked: Mapping[str, Any],
        answered: Mapping[str, Any],
        lineage: Lineage,
        times: Times,
    ) -> None:
        answer = Answer(request_id, method, asked, answered, lineage, times, datetime.now(UTC))
        with self._lock:
            self._pending[request_id] = answer
            self._pending.move_to_end(request_id)
            if len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)

    def find(self, request_id: str) -> Answer:
        """Raises NotFound."""
        with self._lock:
            answer = self._pending.get(request_id)
        if answer is not None:
            return answer
        with self._database.read() as session:
            row = session.get(tables.Answer, request_id)
            if row is None:
                raise NotFound(
                    f"no answer to request {request_id!r}; answers are kept for a day", request_id=request_id
                )
            return Answer(
                row.request_id,
                row.method,
                row.input,
                row.output,
                Lineage(**row.lineage),
                Times(**row.timings),
                row.created_at,
            )

    def _run(self) -> None:
        flushes = 0
        while not self._stopping.wait(FLUSH_SECONDS):
            try:
                self._flush()
                if flushes % CLEAN_EVERY == 0:
                    self._clean()
                flushes += 1
            except FlywheelError as error:
                log.warning("answers wait in memory", error=str(error), waiting=len(self._pending))
            except Exception:
                log.exception("writing answers failed", waiting=len(self._pending))

    def _flush(self) -> None:
        while True:
            with self._lock:
                batch = list(self._pending.values())[:BATCH]
            if not batch:
                return
            with self._database.write() as session:
                for answer in batch:
                    session.merge(_row(answer))
            with self._lock:
                for answer in batch:
                    if self._pending.get(answer.request_id) is answer:
                        del self._pending[answer.request_id]

    def _clean(self) -> None:
        with self._database.write() as session:
            session.execute(delete(tables.Answer).where(tables.Answer.created_at < clock(session) - KEPT))


def _row(answer: Answer) -> tables.Answer:
    return tables.Answer(
        request_id=answer.request_id,
        model=answer.lineage.model,
        version=answer.lineage.version,
        method=answer.method,
        input=dict(answer.input),
        output=dict(answer.output),
        lineage=asdict(answer.lineage),
        timings=asdict(answer.times),
        created_at=answer.created_at,
    )
