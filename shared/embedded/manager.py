"""Starts a platform, keeps it alive, and stops all of it, whatever happens."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from shared.config import Settings
from shared.embedded import orphans, state
from shared.embedded.child import Child
from shared.embedded.lock import HomeLock
from shared.embedded.logs import LogSink
from shared.embedded.plan import SERVICES, PlatformPlan, make_plan
from shared.embedded.state import PlatformState, ServiceState
from shared.errors import Cancelled, FailedPrecondition

START_SECONDS = 180.0
TICK_SECONDS = 0.1
EARLY_EXITS = 3
"""A process that ends so often before it was ready makes the start fail."""


class Manager:
    """One platform on one folder. `run()` blocks until SIGINT, SIGTERM or `stop()`."""

    def __init__(self, settings: Settings, echo: TextIO | None = None) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._lock = HomeLock(settings.home)
        self._echo = echo
        self._children: dict[str, Child] = {}
        self._written: PlatformState | None = None

    def stop(self) -> None:
        """From any thread or signal handler; `run()` returns when everything is down."""
        self.stopping.set()

    def run(self, on_ready: Callable[[PlatformState], None] = lambda _: None) -> None:
        """Starts everything, calls `on_ready` once, and keeps it alive.

        Raises FailedPrecondition when another platform runs on the folder, a port is in use, or a part does
        not start; Cancelled when it was stopped before it was ready. Nothing is left behind either way.
        """
        self._lock.take()
        self._sink = LogSink(self.settings.home / "logs", self._echo)
        with self._signals():
            try:
                self._clean_up()
                plan = make_plan(self.settings)
                self._start(plan)
                on_ready(self._save(plan))
                while not self.stopping.wait(TICK_SECONDS):
                    self._keep_alive(plan)
            finally:
                self._stop_all()
                state.path_in(self.settings.home).unlink(missing_ok=True)
                self._sink.close()
                self._lock.release()

    def _clean_up(self) -> None:
        left = orphans.marked(self.settings.home)
        if left:
            self._say(f"ending {len(left)} processes that an earlier platform on this folder left behind")
            orphans.end(left, grace_seconds=10)

    def _start(self, plan: PlatformPlan) -> None:
        deadline = time.monotonic() + START_SECONDS
        self._children = {child.name: Child(child, self._sink) for child in plan.children}
        queue = [child for name, child in self._children.items() if name not in SERVICES]
        for group in (queue, [self._children[name] for name in SERVICES]):
            for child in group:
                child.start()
                self._save(plan)
            while not all(child.ready for child in group):
                self._check_start(deadline)
                self._keep_alive(plan)
                if self.stopping.wait(TICK_SECONDS):
                    raise Cancelled("stopped before the platform was ready")

    def _check_start(self, deadline: float) -> None:
        for name, child in self._children.items():
            if child.early_exits >= EARLY_EXITS:
                raise FailedPrecondition(f"{name} does not start: {child.last_words()} (see {self._sink.path(name)})")
        if time.monotonic() > deadline:
            slow = ", ".join(name for name, child in self._children.items() if not child.ready)
            raise FailedPrecondition(
                f"{slow} not ready after {START_SECONDS:.0f} s; the logs are in {self.settings.home / 'logs'}"
            )

    def _keep_alive(self, plan: PlatformPlan) -> None:
        for name, child in self._children.items():
            if happened := child.keep_alive():
                self._say(f"{name} {happened}")
        self._save(plan)

    def _save(self, plan: PlatformPlan) -> PlatformState:
        services = {
            name: ServiceState(
                address=plan.addresses[name],
                metrics=f"http://{plan.metrics[name]}/metrics",
                ready=self._children[name].ready,
                pid=self._children[name].pid,
                restarts=self._children[name].restarts,
            )
            for name in SERVICES
        }
        ready = all(child.ready for child in self._children.values())
        now = PlatformState(str(plan.home), os.getpid(), ready, plan.broker, services)
        if now != self._written:
            now.write()
            self._written = now
        return now

    def _stop_all(self) -> None:
        grace = self.settings.grace_seconds + 5
        services = [child for name, child in self._children.items() if name in SERVICES]
        rest = [child for name, child in self._children.items() if name not in SERVICES]
        for group in (services, rest):  # the queue last: services put unfinished messages back
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + grace
            for child in group:
                if not child.wait(deadline - time.monotonic()):
                    self._say(f"{child.plan.name} did not end within {grace:g} s and is killed")
                    child.signal(signal.SIGKILL)
                    child.wait(5)
        orphans.end(orphans.marked(self.settings.home), grace_seconds=2)

    def _say(self, what: str) -> None:
        self._sink.write("platform", what)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the platform in order; outside the main thread only `stop()` does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            self.stop()

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # nohup
                signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
