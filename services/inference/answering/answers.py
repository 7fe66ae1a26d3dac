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
from shared.rpc import callers
from shared.rpc.callers import Caller, Role
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
    """One answered request of a tenant. `input` and `output` are those of its method, as JSON."""

    request_id: str
    method: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    lineage: Lineage
    times: Times
    created_at: datetime
    tenant: str = ""


class AnswerLog:
    """Remembers at once, writes in batches from its own thread; a request never waits for it.

    When the database is away, or slower than the answers come, they wait in memory; past a limit the oldest are
    given up, and counted in `lost`. An answer belongs to the tenant whose call it was, and two tenants may use the same
    request id.
    """

    def __init__(
        self, database: Database, heard: Callable[[Lineage, Times], None] = lambda lineage, times: None
    ) -> None:
        """`heard` is told of every answer."""
        self.lost = 0
        self._database = database
        self._heard = heard
        self._pending: OrderedDict[tuple[str, str], Answer] = OrderedDict()
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
        """Remembers an answer; to be called in the context of the call that it answers."""
        key = request_id, callers.tenant()
        answer = Answer(request_id, method, asked, answered, lineage, times, datetime.now(UTC), key[1])
        self._heard(lineage, times)
        with self._lock:
            self._pending[key] = answer
            self._pending.move_to_end(key)
            if len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)
                self.lost += 1

    def find(self, request_id: str) -> Answer:
        """The caller's answer; an operator finds everybody's, its own first, then the newest.

        Raises NotFound, in the same words whether there is none or it is another's.
        """
        caller = callers.current.get()
        found = self._find_pending(request_id, caller) or self._find_written(request_id, caller)
        if found is None or (caller.models is not None and found.lineage.model not in caller.models):
            raise NotFound(f"no answer to request {request_id!r}; answers are kept for a day", request_id=request_id)
        return found

    def _find_pending(self, request_id: str, caller: Caller) -> Answer | None:
        with self._lock:
            own = self._pending.get((request_id, caller.tenant))
            if own is not None or Role.OPERATE not in caller.roles:
                return own
            return next((one for one in reversed(self._pending.values()) if one.request_id == request_id), None)

    def _find_written(self, request_id: str, caller: Caller) -> Answer | None:
        wanted = select(tables.Answer).where(tables.Answer.request_id == request_id)
        if Role.OPERATE not in caller.roles:
            wanted = wanted.where(tables.Answer.tenant == caller.tenant)
        own_first = (tables.Answer.tenant != caller.tenant, tables.Answer.created_at.desc())
        with self._database.read() as session:
            row = session.scalars(wanted.order_by(*own_first).limit(1)).first()
            return None if row is None else _answer(row)

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
                    key = answer.request_id, answer.tenant
                    if self._pending.get(key) is answer:
                        del self._pending[key]

    def _clean(self) -> bool:
        """Forgets some of what is too old; True when there may be more."""
        with self._database.write() as session:
            too_old = tables.Answer.created_at < clock(session) - KEPT
            ids = session.scalars(select(tables.Answer.request_id).where(too_old).limit(CLEAN_BATCH)).all()
            session.execute(delete(tables.Answer).where(tables.Answer.request_id.in_(ids), too_old))
            return len(ids) == CLEAN_BATCH


def _put(session: Session, answers: Sequence[Answer]) -> None:
    """Inserts rows; a request id that was answered to the tenant before gets its latest answer."""
    upsert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = upsert(tables.Answer)
    changed = {name: statement.excluded[name] for name in _COLUMNS if name not in _KEY}
    session.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=changed), [_row(one) for one in answers])


_KEY = ("request_id", "tenant")
_COLUMNS = tables.Answer.__table__.columns.keys()


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "request_id": answer.request_id,
        "tenant": answer.tenant,
        "model": answer.lineage.model,
        "version": answer.lineage.version,
        "method": answer.method,
        "input": answer.input,
        "output": answer.output,
        "lineage": _lineage(answer.lineage),
        "timings": vars(answer.times),
        "created_at": answer.created_at,
    }


def _answer(row: tables.Answer) -> Answer:
    lineage, times = Lineage(**row.lineage), Times(**row.timings)
    return Answer(row.request_id, row.method, row.input, row.output, lineage, times, row.created_at, row.tenant)


@lru_cache(maxsize=256)
def _lineage(lineage: Lineage) -> dict[str, Any]:
    return asdict(lineage)
