"""Keeping hold of a job: renews its lease and looks what its owner wants, from a thread of its own."""

import threading
import time

from sqlalchemy import select, update

from shared.beside import Beside
from shared.errors import LeaseLost, Unavailable
from shared.storage import leases
from shared.storage.database import Database, clock
from shared.storage.leases import Lease
from shared.storage.tables import Job, Run
from shared.telemetry.logs import get_logger

LOOK_SECONDS = 0.5

log = get_logger(__name__)


class JobWatch(Beside):
    """While it is open the lease is renewed each third of its time.

    A database that does not answer is no reason to stop: whether the job was lost is known once it is back.
    """

    def __init__(self, database: Database, lease: Lease, lease_seconds: float) -> None:
        super().__init__(f"watch {lease.id}")
        self._database, self._lease, self._seconds = database, lease, lease_seconds
        self._lost = threading.Event()
        self.cancel = False
        """The owner wants the job cancelled."""
        self.pause = False
        """The owner wants the job paused."""

    def check(self) -> None:
        """Raises LeaseLost when another worker may hold the job by now."""
        if self._lost.is_set():
            raise LeaseLost(f"job {self._lease.id}: fence {self._lease.fence} is stale", id=self._lease.id)

    def work(self) -> None:
        renewal_due = time.monotonic() + self._seconds / 3
        while not self.over.wait(min(LOOK_SECONDS, self._seconds / 6)):
            try:
                self._look()
                if time.monotonic() >= renewal_due:
                    self._renew()
                    renewal_due = time.monotonic() + self._seconds / 3
            except LeaseLost:
                self._lost.set()
                return
            except Unavailable as error:
                log.warning("can't renew the lease now", error=error.message)

    def _renew(self) -> None:
        with self._database.write() as session:
            leases.renew(session, self._lease, self._seconds)
            mine = update(Run).where(Run.job == self._lease.id, Run.fence == self._lease.fence)
            session.execute(mine.values(heard_at=clock(session)).execution_options(synchronize_session=False))

    def _look(self) -> None:
        with self._database.read() as session:
            query = select(Job.state, Job.wanted, Job.owner, Job.fence).where(Job.id == self._lease.id)
            row = session.execute(query).one_or_none()
        if row is None or (row.owner, row.fence) != (self._lease.owner, self._lease.fence):
            raise LeaseLost(f"job {self._lease.id}: fence {self._lease.fence} is stale")
        self.cancel = row.wanted == "cancel"
        self.pause = row.state == "pausing"
