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
from shared.embedded.plan import PlatformPlan, make_plan
from shared.embedded.state import PlatformState, ServiceState
from shared.errors import Cancelled, FailedPrecondition

START_SECONDS = 180.0
TICK_SECONDS = 0.1
EARLY_EXITS = 3
"""A process that ends so often before it was ready makes the start fail."""


class Manager:
    """One platform on one folder. `run()` blocks until SIGINT, SIGTERM or `stop()`."""

    def __init__(
        self, settings: Settings, echo: TextIO | None = None, plan: Callable[[Settings], PlatformPlan] = make_plan
    ) -> None:
        self.settings = settings
        self._make_plan = plan
        self._stopping = False
        self._hurried = False
        self._lock = HomeLock(settings.home)
        self._echo = echo
        self._queue: list[Child] = []
        self._services: list[Child] = []
        self._written: PlatformState | None = None

    @property
    def _children(self) -> list[Child]:
        return [*self._queue, *self._services]

    def stop(self) -> None:
        """From any thread or signal handler; `run()` returns when everything is down. Twice: without grace."""
        self._hurried = self._stopping
        self._stopping = True

    def run(self, on_ready: Callable[[PlatformState], None] = lambda _: None) -> None:
        """Starts everything, calls `on_ready` once, and keeps it alive.

        Raises FailedPrecondition when another platform runs on the folder, a port is in use, or a part does
        not start; Cancelled when it was stopped before it was ready. Nothing is left behind either way.
        """
        self._lock.take()
        self._sink = LogSink(self.settings.home / "logs", self._echo)
        with self._signals():
            try:
                state.path_in(self.settings.home).unlink(missing_ok=True)
                self._clean_up()
                plan = self._make_plan(self.settings)
                self._start(plan)
                on_ready(self._save(plan))
                while not self._stopping:
                    self._keep_alive(plan)
                    time.sleep(TICK_SECONDS)
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
        self._queue = [Child(child, self._sink) for child in plan.queue]
        self._services = [Child(child, self._sink) for child in plan.services]
        for group in (self._queue, self._services):
            for child in group:
                child.start()
                self._save(plan)
            while not all(child.ready for child in group):
                self._check_start(deadline)
                self._keep_alive(plan)
                time.sleep(TICK_SECONDS)
                if self._stopping:
                    raise Cancelled("stopped before the platform was ready")

    def _check_start(self, deadline: float) -> None:
        for child in self._children:
            name = child.plan.name
            if child.early_exits >= EARLY_EXITS:
                raise FailedPrecondition(f"{name} does not start: {child.last_words()} (see {self._sink.path(name)})")
        if time.monotonic() > deadline:
            slow = ", ".join(child.plan.name for child in self._children if not child.ready)
            raise FailedPrecondition(
                f"{slow} not ready after {START_SECONDS:.0f} s; the logs are in {self.settings.home / 'logs'}"
            )

    def _keep_alive(self, plan: PlatformPlan) -> None:
        for child in self._children:
            if happened := child.keep_alive():
                self._say(f"{child.plan.name} {happened}")
        self._save(plan)

    def _save(self, plan: PlatformPlan) -> PlatformState:
        services = {
            child.plan.name: ServiceState(
                address=plan.addresses[child.plan.name],
                metrics=f"http://{plan.metrics[child.plan.name]}/metrics",
                ready=child.ready,
                pid=child.pid,
                restarts=child.restarts,
            )
            for child in self._services
        }
        ready = all(child.ready for child in self._children)
        now = PlatformState(str(plan.home), os.getpid(), ready, plan.broker, services)
        if now != self._written:
            try:
                now.write()
                self._written = now
            except OSError as error:  # a full disk must not end what runs
                self._say(f"can't write {state.path_in(plan.home)}: {error.strerror}")
        return now

    def _stop_all(self) -> None:
        if self._children:
            self._say("stopping")
        for group in (self._services, self._queue):  # services put unfinished messages back into the queue
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + self.settings.grace_seconds + 5
            while any(child.pid for child in group) and time.monotonic() < deadline and not self._hurried:
                time.sleep(TICK_SECONDS)
            for child in group:
                if child.pid:
                    self._say(f"{child.plan.name} did not end in time and is killed")
                    child.signal(signal.SIGKILL)
                child.wait(5)
        orphans.end(orphans.marked(self.settings.home), grace_seconds=2)
        for child in self._children:
            child.finish_listening()

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
