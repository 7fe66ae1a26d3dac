"""Tells the database that this worker lives, and whose jobs it takes."""

import os
import socket
from collections.abc import Callable

from services.finetuning.revision import code_revision
from shared.beside import Beside
from shared.contracts.routes import RUN_JOB
from shared.errors import Unavailable
from shared.storage.database import Database, clock
from shared.storage.tables import TrainingWorker
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

BEAT_SECONDS = 5.0


def worker_name() -> str:
    """This process among all workers; also the owner of its leases."""
    return f"{socket.gethostname()}:{os.getpid()}"


def devices_of(queues: list[str]) -> list[str]:
    """The device kinds, such as `cpu`, whose jobs come through these queues."""
    return [device for device in RUN_JOB.devices if RUN_JOB.queue_for(device) in queues]


class Heartbeat(Beside):
    """While it is open the worker's row is kept fresh, from a thread of its own; one that ends well takes its row away."""

    def __init__(self, database: Database, devices: list[str], seconds: float = BEAT_SECONDS) -> None:
        super().__init__("heartbeat")
        self._database, self._devices, self._seconds = database, devices, seconds

    def work(self) -> None:
        while True:
            self._safely(self._beat)
            if self.over.wait(self._seconds):
                return

    def leave(self) -> None:
        self._safely(self._sign_off)

    def _safely(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Unavailable as error:
            log.warning("can't tell that this worker lives", error=error.message)

    def _beat(self) -> None:
        with self._database.write() as session:
            now = clock(session)
            for device in self._devices:
                row = session.get(TrainingWorker, (worker_name(), device))
                if row is None:
                    row = TrainingWorker(owner=worker_name(), device=device, revision=code_revision(), started_at=now)
                    session.add(row)
                row.heard_at = now

    def _sign_off(self) -> None:
        with self._database.write() as session:
            for device in self._devices:
                row = session.get(TrainingWorker, (worker_name(), device))
                if row is not None:
                    session.delete(row)
