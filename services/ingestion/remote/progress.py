"""How far an import is, told to its row again and again by a thread that keeps the lease as well."""

import threading
import time

from shared.beside import Beside
from shared.errors import FlywheelError, LeaseLost
from shared.storage.database import Database
from shared.storage.leases import Lease
from shared.storage.repositories import imports
from shared.storage.repositories.imports import Figures
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

TELL_SECONDS = 1.0
SMOOTHING = 0.3
"""Weight of the last second in a rate."""
log = get_logger(__name__)


class Progress:
    """Counted by the thread that imports, read by the one that tells. Bytes are those fetched until rows come."""

    def __init__(self) -> None:
        self.total_bytes = self.fetched_bytes = self.read_bytes = self.rows = 0
        self._rows_rate = self._bytes_rate = 0.0
        self._last = (time.monotonic(), 0, 0)

    @property
    def bytes(self) -> int:
        return min(self.read_bytes if self.rows else self.fetched_bytes, self.total_bytes or 1 << 62)

    def figures(self) -> Figures:
        return Figures(self.bytes, self.total_bytes, self.rows, round(self._rows_rate, 1), round(self._eta(), 1))

    def look(self) -> None:
        """Measures the rates since the last look."""
        now, (before, rows, bytes_read) = time.monotonic(), self._last
        self._last = (now, self.rows, self.read_bytes)
        seconds = max(now - before, 1e-3)
        self._rows_rate = _smooth(self._rows_rate, (self.rows - rows) / seconds)
        self._bytes_rate = _smooth(self._bytes_rate, (self.read_bytes - bytes_read) / seconds)

    def _eta(self) -> float:
        left = self.total_bytes - self.read_bytes
        return left / self._bytes_rate if self.rows and self._bytes_rate > 0 and left > 0 else 0.0


class Heart(Beside):
    """Beats while the block runs; `lost` is set when somebody else has the import, or it was cancelled."""

    def __init__(self, database: Database, lease: Lease, pipeline: str, progress: Progress, seconds: float) -> None:
        super().__init__(f"heart-{lease.id}")
        self._database, self._lease, self._seconds = database, lease, seconds
        self._pipeline, self._progress = pipeline, progress
        self.lost = threading.Event()

    def leave(self) -> None:
        for gauge in (metrics.INGESTION_IMPORT_PROGRESS_RATIO, metrics.INGESTION_IMPORT_ETA_SECONDS):
            gauge.labels(self._pipeline).set(0)
        metrics.INGESTION_IMPORT_ROWS_PER_SECOND.labels(self._pipeline).set(0)

    def work(self) -> None:
        while not self.over.wait(min(TELL_SECONDS, self._seconds / 3)):
            self._progress.look()
            figures = self._progress.figures()
            self._measure(figures)
            try:
                with self._database.write() as session:
                    imports.progress(session, self._lease, figures, self._seconds)
            except LeaseLost:
                self.lost.set()
                return
            except FlywheelError as error:
                log.warning("an import's progress is not told", id=self._lease.id, error=error.message)
            except Exception:
                log.exception("an import's progress is not told", id=self._lease.id)

    def _measure(self, figures: Figures) -> None:
        share = figures.bytes / figures.total_bytes if figures.total_bytes else 0.0
        metrics.INGESTION_IMPORT_PROGRESS_RATIO.labels(self._pipeline).set(min(1.0, share))
        metrics.INGESTION_IMPORT_ETA_SECONDS.labels(self._pipeline).set(figures.eta_seconds)
        metrics.INGESTION_IMPORT_ROWS_PER_SECOND.labels(self._pipeline).set(figures.rows_per_second)


def _smooth(before: float, now: float) -> float:
    return now if before == 0 else (1 - SMOOTHING) * before + SMOOTHING * now
