"""The folder of a job on this machine: shared by its attempts, used by one training process at a time."""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.errors import Unavailable

POLL_SECONDS = 0.1


class Workplace:
    """`runs/<job>` in the home folder: spec.json, checkpoints, output, rows.log and the lock."""

    def __init__(self, home: Path, job: str) -> None:
        self.folder = home / "runs" / job
        self.spec = self.folder / "spec.json"
        self.checkpoints = self.folder / "checkpoints"
        self.output = self.folder / "output"
        self._lock = self.folder / "lock"

    @contextmanager
    def locked(self, patience: float, check: Callable[[], None]) -> Iterator[int]:
        """Holds the folder and yields the lock's descriptor.

        A training process that was given the descriptor holds it as long as it lives, whatever happens to its
        supervisor. One that is left from an attempt whose lease is gone is asked to stop, and killed after
        `patience` seconds. Raises Unavailable when the folder stays taken, and what `check` raises.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._acquire(descriptor, patience, check)
            os.truncate(descriptor, 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def note_holder(self, pid: int) -> None:
        """Writes down which process group holds the folder from now on."""
        self._lock.write_text(str(pid))

    def remove(self) -> None:
        """Frees the disk once the job has ended for good."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _acquire(self, descriptor: int, patience: float, check: Callable[[], None]) -> None:
        begun = time.monotonic()
        asked = killed = False
        while not _try_lock(descriptor):
            check()
            waited = time.monotonic() - begun
            if waited > 2 * patience:
                raise Unavailable(f"{self.folder.name} is still used by another process", retry_seconds=patience)
            if not asked:
                asked = self._signal_holder(signal.SIGTERM)
            if not killed and waited > patience:
                killed = self._signal_holder(signal.SIGKILL)
            time.sleep(POLL_SECONDS)

    def _signal_holder(self, number: signal.Signals) -> bool:
        """The lock is held, so the process that it names is alive and ours; false while it names none."""
        text = self._lock.read_text()
        if not text:
            return False
        with suppress(ProcessLookupError):
            os.killpg(int(text), number)
        return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
