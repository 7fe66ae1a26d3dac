"""Finding what a manager left behind.

Every child carries the folder of its platform in its environment, and passes it on to its own children.
That proves whose it is; a pid alone, which the system gives out again, would not.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import psutil

MARK = "FLYWHEEL_EMBEDDED_IN"


def marked(home: Path) -> list[psutil.Process]:
    """Processes that a platform on `home` started, directly or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end(processes: Sequence[psutil.Process], grace_seconds: float) -> None:
    """Asks processes to end, and ends those that are still there after the grace."""
    for process in processes:
        _signal(process, "terminate")
    _, left = psutil.wait_procs(list(processes), timeout=grace_seconds)
    for process in left:
        _signal(process, "kill")
    psutil.wait_procs(left, timeout=5)


def _signal(process: psutil.Process, how: str) -> None:
    with contextlib.suppress(psutil.Error):
        getattr(process, how)()
