"""Copies of requests for versions that are only watched: their answers are counted, never sent.

One thread runs them one after another, each only when no real request waits, so a shadow takes what is left over.
"""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from services.inference.deployments.registry import Registry
from services.inference.kinds.base import Served
from services.inference.models.lineage import Key
from shared.errors import FlywheelError, Unavailable
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

LOWEST = -1000  # priority; requests of clients have -100 at least
SHADOW_SECONDS = 20.0  # less than the grace of a server that drains
MAX_WAITING = 64
PATIENCE_SECONDS = 5.0  # that a copy waits for a quiet moment before it is skipped
PAUSE_SECONDS = 0.01

log = get_logger(__name__)
Compare = Callable[[Any, float], bool | None]
"""Answers a request with a shadow before a deadline: whether it agrees with the real answer, None if that can't be
told."""


class Shadows:
    """`start` it once. `offer` never blocks: what does not fit is skipped, and counted as that."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._waiting: queue.Queue[tuple[Key, type, Compare] | None] = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Drops what waits; a copy that runs ends with its model."""
        self._stopping.set()

    def offer(self, key: Key, kind: type, compare: Compare) -> None:
        try:
            self._waiting.put_nowait((key, kind, compare))
        except queue.Full:
            _count(key, "skipped")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                copy = self._waiting.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                continue
            if copy is not None:
                _count(copy[0], self._answer(*copy))

    def _answer(self, key: Key, kind: type, compare: Compare) -> str:
        if not self._quiet():
            return "skipped"
        try:
            with self._registry.hold(lambda: key) as (served, _):
                return self._compare(key, served, kind, compare)
        except Unavailable:
            return "skipped"
        except FlywheelError as error:
            log.warning("a shadow failed", model=key.model, version=key.version, error=str(error))
        except Exception:
            log.exception("a shadow failed", model=key.model, version=key.version)
        return "failed"

    def _compare(self, key: Key, served: Served, kind: type, compare: Compare) -> str:
        if not isinstance(served, kind):
            return "failed"
        began = time.monotonic()
        agreed = compare(served, began + SHADOW_SECONDS)
        metrics.INFERENCE_SHADOW_SECONDS.labels(key.model, str(key.version)).observe(time.monotonic() - began)
        return "answered" if agreed is None else "agreed" if agreed else "differed"

    def _quiet(self) -> bool:
        """Waits until no request of a client waits; False when that takes too long."""
        until = time.monotonic() + PATIENCE_SECONDS
        while any(served.load().waiting for _, served in self._registry.served()):
            if time.monotonic() > until or self._stopping.wait(PAUSE_SECONDS):
                return False
        return not self._stopping.is_set()


def _count(key: Key, outcome: str) -> None:
    metrics.INFERENCE_SHADOWS.labels(key.model, str(key.version), outcome).inc()
