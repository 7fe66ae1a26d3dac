"""Finding what a manager left behind.

Every child carries the folder of its platform in its environment, and passes it on to its own children.
That proves whose it is; a pid alone, which the system gives out again, would not.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

MARK = "FLYWHEEL_EMBEDDED_IN"
POLL_SECONDS = 0.05


def marked(home: Path) -> list[psutil.Process]:
    """Processes that a platform on `home` started, directly or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and _runs(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Sequence[psutil.Process], grace_seconds: float) -> None:
    """Asks processes to end, and ends those that are still there after the grace."""
    for process in processes:
        _signal(process, "terminate")
    for process in _still_there(processes, grace_seconds):
        _signal(process, "kill")
    _still_there(processes, 5)


def _still_there(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits for them to end. One that ended and was not yet collected by its parent counts as gone."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left := [process for process in left if _runs(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _signal(process: psutil.Process, how: str) -> None:
    with contextlib.suppress(psutil.Error):
        getattr(process, how)()
