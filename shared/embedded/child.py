"""One child process of the platform: started, listened to, restarted, stopped."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from shared.embedded.logs import LogSink, readable

BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0
"""A process that lived for so long starts its backoff anew."""


@dataclass(frozen=True)
class ChildPlan:
    """What to start. It is ready when it prints its ready line, or when `probe` says so."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    niceness: int = 0
    probe: Callable[[], bool] | None = None


class Child:
    """A process that is kept alive. Not thread-safe: the manager's thread alone calls it."""

    def __init__(self, plan: ChildPlan, sink: LogSink) -> None:
        self.plan = plan
        self.restarts = 0
        self.early_exits = 0
        """Exits in a row before the process was ready."""
        self._sink = sink
        self._ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._started = 0.0
        self._start_at = 0.0
        self._quick_exits = 0
        self._last_lines: deque[str] = deque(maxlen=20)

    @property
    def pid(self) -> int:
        """0 while it is down."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    @property
    def ready(self) -> bool:
        if not self.pid:
            return False
        if not self._ready.is_set() and self.plan.probe and self.plan.probe():
            self._ready.set()
        return self._ready.is_set()

    def start(self) -> None:
        """In a session of its own, so that Ctrl-C at the terminal reaches the manager alone."""
        self._ready.clear()
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self.plan.command,
            env=dict(self.plan.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self.plan.niceness:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self.plan.niceness)
        assert self._process.stdout is not None
        self._pump = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._pump.start()

    def keep_alive(self) -> str | None:
        """Starts it again when it is down and its backoff is over. Returns what happened, if anything."""
        if self._process is None or self.pid:
            return None
        if not self._start_at:
            return self._schedule()
        if time.monotonic() < self._start_at:
            return None
        self._start_at = 0.0
        self.restarts += 1
        self.start()
        return "starting again"

    def _schedule(self) -> str:
        assert self._process is not None
        lived = time.monotonic() - self._started
        self._quick_exits = 0 if lived > STEADY_SECONDS else self._quick_exits + 1
        self.early_exits = 0 if self._ready.is_set() else self.early_exits + 1
        wait = BACKOFF_SECONDS[min(self._quick_exits, len(BACKOFF_SECONDS)) - 1] if self._quick_exits else 0.1
        self._start_at = time.monotonic() + wait
        return f"ended with {describe_exit(self._process.returncode)}; starting again in {wait:g} s"

    def signal(self, number: signal.Signals) -> None:
        """To the process; to its whole group when it is SIGKILL."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number == signal.SIGKILL else os.kill)(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def finish_listening(self) -> None:
        """Once it and all that hold its output have ended: writes the rest of what it said."""
        if self._pump:
            self._pump.join(timeout=1)

    def last_words(self) -> str:
        """What it said last, to explain why it ended."""
        self.finish_listening()
        lines = [readable(line) for line in self._last_lines if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def _listen(self, output: IO[bytes]) -> None:
        with output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\r\n")
                if not self._ready.is_set() and is_ready_line(line, self.plan.name):
                    self._ready.set()
                    continue
                self._last_lines.append(line)
                self._sink.write(self.plan.name, line)


def is_ready_line(line: str, service: str) -> bool:
    """Whether this is what shared.telemetry.ready prints for the service."""
    if not line.startswith("{"):
        return False
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("service") == service and {"metrics", "pid", "address"} <= found.keys()


def describe_exit(code: int) -> str:
    """`exit code 1`, or the name of the signal that ended it."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
