"""What has to be looked after now and then: versions whose time is over, and files that nothing needs any more."""

import threading

from services.ingestion.storing.parts import Parts
from services.ingestion.versions.retention import Keeper
from shared.errors import FlywheelError
from shared.telemetry.logs import get_logger

EVERY_SECONDS = 600.0
STOP_SECONDS = 10.0
log = get_logger(__name__)


class Housekeeper:
    """A thread of its own. Every ingestion process has one; they do not disturb each other."""

    def __init__(self, parts: Parts, keeper: Keeper, every: float = EVERY_SECONDS) -> None:
        self._parts, self._keeper, self._every = parts, keeper, every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Sweeps once before it returns, then from time to time."""
        self._parts.sweep()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self._keeper.apply_all()
                self._parts.sweep()
            except (FlywheelError, OSError) as error:
                log.warning("housekeeping is put off", error=str(error))
