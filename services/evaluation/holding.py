"""Holding an evaluation while it is worked on: the lease is renewed, progress is noted, a stop is heard."""

import threading
import time

from shared.beside import Beside
from shared.errors import LeaseLost, Unavailable
from shared.storage.database import Database
from shared.storage.leases import Lease
from shared.storage.repositories import evaluations
from shared.telemetry.logs import get_logger

NOTE_SECONDS = 1.0
log = get_logger(__name__)


class Holding(Beside):
    """Keeps `lease` from a thread of its own for as long as the block lasts."""

    def __init__(self, database: Database, lease: Lease, seconds: float, draining: threading.Event) -> None:
        super().__init__(f"hold {lease.id}")
        self._database = database
        self._lease = lease
        self._seconds = seconds
        self._draining = draining
        self._lost = threading.Event()
        self.done = 0
        self.total = 0

    def step(self, work: int) -> None:
        """Counts work as done. Raises LeaseLost when someone else has it now, Unavailable when draining."""
        self.done += work
        if self._lost.is_set():
            raise LeaseLost(f"evaluation {self._lease.id} was taken over", id=self._lease.id)
        if self._draining.is_set():
            raise Unavailable("this worker is draining", retry_seconds=0.1)

    def work(self) -> None:
        renewed = time.monotonic()
        while not self.over.wait(min(self._seconds / 3, NOTE_SECONDS)):
            try:
                with self._database.write() as session:
                    evaluations.progress(session, self._lease, self.done, self.total, self._seconds)
                renewed = time.monotonic()
            except LeaseLost:
                self._lost.set()
                return
            except Exception as error:
                log.warning("lease not renewed", evaluation=self._lease.id, error=str(error))
                if time.monotonic() - renewed > self._seconds:
                    self._lost.set()
                    return
