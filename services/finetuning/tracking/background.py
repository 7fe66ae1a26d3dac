"""A tracker that may be slow, in a thread of its own."""

import threading
from collections.abc import Callable
from queue import Full, Queue

from services.finetuning.tracking.tracker import Experiment, Point, Tracker
from shared.telemetry.logs import get_logger

WAITING = 20_000
"""Points that wait for a tracker that does not keep up; later ones are lost to it."""
PATIENCE_SECONDS = 5.0
"""For what waits at the end of a run. A tracker that needs longer goes on while the worker lives."""

log = get_logger(__name__)


class Background:
    """Never blocks its caller for longer than `patience`, and never raises: the first error is the tracker's end."""

    def __init__(self, name: str, tracker: Tracker, patience: float = PATIENCE_SECONDS, waiting: int = WAITING) -> None:
        self._name, self._tracker, self._patience = name, tracker, patience
        self._calls: Queue[Callable[[], None] | None] = Queue(waiting)
        self._thread = threading.Thread(target=self._run, name=f"tracking by {name}", daemon=True)
        self._full = False

    def begin(self, experiment: Experiment) -> None:
        self._thread.start()
        self._put(lambda: self._tracker.begin(experiment))

    def point(self, point: Point) -> None:
        self._put(lambda: self._tracker.point(point))

    def end(self, state: str) -> None:
        self._put(lambda: self._tracker.end(state))
        self._put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            log.warning("an experiment tracker is behind", tracker=self._name, waiting=self._calls.qsize())

    def _put(self, call: Callable[[], None] | None) -> None:
        try:
            self._calls.put_nowait(call)
        except Full:
            if not self._full:
                log.warning("an experiment tracker does not keep up and misses points", tracker=self._name)
            self._full = True

    def _run(self) -> None:
        works = True
        while (call := self._calls.get()) is not None:
            try:
                if works:
                    call()
            except Exception as error:
                works = False
                log.warning("an experiment tracker is given up", tracker=self._name, error=_named(error))


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
