"""What was answered, kept for a day, so that feedback and lineage can refer to a request id."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from services.inference.models.lineage import Lineage
from shared.errors import FlywheelError, NotFound
from shared.storage import tables
from shared.storage.database import Database, clock
from shared.telemetry.logs import get_logger

KEPT = timedelta(days=1)
FLUSH_SECONDS = 0.2
CLEAN_SECONDS = 10.0
CLEAN_BATCH = 5000  # rows; more would keep other writers of SQLite waiting
MAX_PENDING = 20_000
BATCH = 1000

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
    """Remembers at once, writes in batches from its own thread; a request never waits for it.

    When the database is away, or slower than the answers come, they wait in memory; past a limit the oldest are
    given up, and counted in `lost`.
    """

    def __init__(
        self, database: Database, heard: Callable[[Lineage, Times], None] = lambda lineage, times: None
    ) -> None:
        """`heard` is told of every answer."""
        self.lost = 0
        self._database = database
        self._heard = heard
        self._pending: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left, if the database is there."""
        self._stopping.set()
        self._thread.join()
        try:
            self._flush()
        except FlywheelError as error:
            log.warning("answers are lost", error=str(error), answers=len(self._pending))

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
        self._heard(lineage, times)
        with self._lock:
            self._pending[request_id] = answer
            self._pending.move_to_end(request_id)
            if len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)
                self.lost += 1

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
        cleaned, trouble = 0.0, False
        while not self._stopping.wait(FLUSH_SECONDS):
            try:
                self._flush()
                if time.monotonic() - cleaned > CLEAN_SECONDS and not self._clean():
                    cleaned = time.monotonic()
                trouble = False
            except FlywheelError as error:
                if not trouble:  # said once, however long it lasts
                    log.warning("answers wait in memory", error=str(error), waiting=len(self._pending))
                trouble = True
            except Exception:
                log.exception("writing answers failed", waiting=len(self._pending))

    def _flush(self) -> None:
        while True:
            with self._lock:
                batch = list(islice(self._pending.values(), BATCH))
            if not batch:
                return
            with self._database.write() as session:
                _put(session, batch)
            with self._lock:
                for answer in batch:
                    if self._pending.get(answer.request_id) is answer:
                        del self._pending[answer.request_id]

    def _clean(self) -> bool:
        """Forgets some of what is too old; True when there may be more."""
        with self._database.write() as session:
            old = select(tables.Answer.request_id).where(tables.Answer.created_at < clock(session) - KEPT)
            ids = session.scalars(old.limit(CLEAN_BATCH)).all()
            session.execute(delete(tables.Answer).where(tables.Answer.request_id.in_(ids)))
            return len(ids) == CLEAN_BATCH


def _put(session: Session, answers: Sequence[Answer]) -> None:
    """Inserts rows; a request id that was answered before gets its latest answer."""
    upsert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = upsert(tables.Answer)
    changed = {name: statement.excluded[name] for name in _COLUMNS if name != "request_id"}
    session.execute(
        statement.on_conflict_do_update(index_elements=["request_id"], set_=changed), [_row(one) for one in answers]
    )


_COLUMNS = tables.Answer.__table__.columns.keys()


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "request_id": answer.request_id,
        "model": answer.lineage.model,
        "version": answer.lineage.version,
        "method": answer.method,
        "input": answer.input,
        "output": answer.output,
        "lineage": _lineage(answer.lineage),
        "timings": vars(answer.times),
        "created_at": answer.created_at,
    }


@lru_cache(maxsize=256)
def _lineage(lineage: Lineage) -> dict[str, Any]:
    return asdict(lineage)
