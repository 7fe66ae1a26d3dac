"""One leader among any number of control processes, by a lease in the database with a fence."""

import time
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.errors import FlywheelError, LeaseLost
from shared.storage.database import Database, clock
from shared.storage.tables import Leader
from shared.telemetry.logs import get_logger

ROLE = "control"
LEASE_SECONDS = 5.0
log = get_logger(__name__)


@dataclass(frozen=True)
class Term:
    """Proof of leading: the fence, and until when this process may believe it (monotonic seconds)."""

    fence: int
    ends: float


class Leadership:
    """Takes the lease when it is free, renews it while `run` runs, and gives it back at the end.

    A process that can't renew in time stops leading by its own clock, before anybody else can start.
    """

    def __init__(self, database: Database, owner: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self.owner = owner
        self._database = database
        self._seconds = lease_seconds
        self._term: Term | None = None

    @property
    def term(self) -> Term | None:
        """The present term; None when this process does not lead, or can't be sure."""
        term = self._term
        return term if term is not None and time.monotonic() < term.ends else None

    def run(self, stop: Event) -> None:
        """Leads or stands by until `stop`."""
        while not stop.is_set():
            self.step()
            stop.wait(self._seconds / 4)
        self._give_back()

    def step(self) -> None:
        """Takes or renews the lease once; what goes wrong is logged, and the old term runs out by itself."""
        led, asked = self._term, time.monotonic()
        try:
            fence = self._take(led.fence if led else None)
        except (FlywheelError, IntegrityError) as error:
            log.warning("the leader's lease can't be renewed", error=str(error))
            return
        except Exception:
            log.exception("the leader's lease can't be renewed")
            return
        self._term = Term(fence, asked + self._seconds) if fence is not None else None
        if (led and led.fence) != fence:
            log.info("leads now" if fence is not None else "stands by", owner=self.owner, fence=fence)

    def guard(self, session: Session, term: Term) -> None:
        """Raises LeaseLost unless the term is still the present one; holds it until the commit."""
        query = select(Leader.fence).where(Leader.role == ROLE, Leader.owner == self.owner).with_for_update()
        if session.execute(query).scalar_one_or_none() != term.fence:
            raise LeaseLost(f"leader {self.owner}: fence {term.fence} is stale", fence=term.fence)

    def _take(self, fence: int | None) -> int | None:
        with self._database.write() as session:
            now = clock(session)
            ends = now + timedelta(seconds=self._seconds)
            mine = (Leader.role == ROLE) & (Leader.owner == self.owner) & (Leader.fence == (fence or 0))
            if _changed(session, mine, Leader.fence, ends, self.owner) is not None:
                return fence
            free = (Leader.role == ROLE) & (Leader.expires_at < now)
            taken = _changed(session, free, Leader.fence + 1, ends, self.owner)
            if taken is None and session.get(Leader, ROLE) is None:
                session.add(Leader(role=ROLE, owner=self.owner, fence=1, expires_at=ends))
                taken = 1
            return taken

    def _give_back(self) -> None:
        term, self._term = self._term, None
        if term is None:
            return
        try:
            with self._database.write() as session:
                self.guard(session, term)
                session.execute(update(Leader).where(Leader.role == ROLE).values(expires_at=clock(session)))
        except FlywheelError as error:
            log.info("the leader's lease was not given back", error=str(error))


def _changed(session: Session, which: object, fence: object, ends: object, owner: str) -> int | None:
    statement = update(Leader).where(which).values(fence=fence, expires_at=ends, owner=owner)  # type: ignore[arg-type]
    return session.execute(
        statement.returning(Leader.fence).execution_options(synchronize_session=False)
    ).scalar_one_or_none()
