"""A platform in the background: started, waited for, stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import shared
from shared.config import Settings, child_environment
from shared.embedded import orphans, state
from shared.embedded.lock import HomeLock
from shared.embedded.manager import START_SECONDS
from shared.embedded.state import PlatformState
from shared.errors import FailedPrecondition

POLL_SECONDS = 0.1


def start(settings: Settings, progress: Callable[[PlatformState], None] = lambda _: None) -> PlatformState:
    """Starts a manager in the background and returns when everything is ready; `progress` sees it come up.

    Raises FailedPrecondition with the reason when it does not start. Interrupted, it leaves nothing behind.
    """
    home = settings.home
    if holder := HomeLock(home).holder():
        raise FailedPrecondition(f"a platform already runs on {home} (pid {holder}); stop it with `flywheel down`")
    said = home / "run" / "start.err"
    said.parent.mkdir(parents=True, exist_ok=True)
    state.path_in(home).unlink(missing_ok=True)
    environment = child_environment(home=home)
    root = str(Path(shared.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    with said.open("w") as output:
        manager = subprocess.Popen(
            [sys.executable, "-P", "-m", "shared.embedded"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        return _wait_until_ready(manager, home, said, progress)
    except BaseException:
        manager.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            manager.wait(settings.grace_seconds + 15)
        raise


def stop(settings: Settings) -> bool:
    """Stops the platform on the folder, and what an earlier one left there; waits until it is gone.

    Returns whether there was anything to stop. Raises FailedPrecondition when it does not end.
    """
    lock = HomeLock(settings.home)
    manager = lock.holder()
    if manager is None:
        left = orphans.marked(settings.home)
        orphans.end(left, grace_seconds=settings.grace_seconds)
        state.path_in(settings.home).unlink(missing_ok=True)
        return bool(left)
    with contextlib.suppress(ProcessLookupError):
        os.kill(manager, signal.SIGTERM)
    deadline = time.monotonic() + 2 * settings.grace_seconds + 30
    while lock.holder() == manager:
        if time.monotonic() > deadline:
            raise FailedPrecondition(f"the platform (pid {manager}) does not end; see {settings.home / 'logs'}")
        time.sleep(POLL_SECONDS)
    return True


def _wait_until_ready(
    manager: "subprocess.Popen[bytes]", home: Path, said: Path, progress: Callable[[PlatformState], None]
) -> PlatformState:
    deadline = time.monotonic() + START_SECONDS + 30
    while time.monotonic() < deadline:
        if manager.poll() is not None:
            lines = said.read_text(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit code {manager.returncode}"
            raise FailedPrecondition(f"{reason} (logs in {home / 'logs'})" if "logs" not in reason else reason)
        now = PlatformState.read(home)
        if now and now.pid == manager.pid:
            progress(now)
            if now.ready:
                return now
        time.sleep(POLL_SECONDS)
    raise FailedPrecondition(f"the platform is not ready; see {home / 'logs'}")
