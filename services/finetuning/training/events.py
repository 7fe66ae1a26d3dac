"""Events for the supervisor: one JSON object a line on a file descriptor."""

import json
import os
import time
from typing import Any

PROGRESS_SECONDS = 0.25
ALIVE_SECONDS = 10.0


class Events:
    """Writes events. Once nobody reads them, `closed` is true and writing does nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._last_progress = 0.0
        self._last_alive = time.monotonic()
        self.closed = False

    def send(self, event: str, **values: Any) -> None:
        """Write one event whole, at once."""
        line = json.dumps({"event": event, **values}, default=str).encode() + b"\n"
        try:
            while line and not self.closed:
                line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:
            self.closed = True

    def progress(self, last: bool, **values: Any) -> None:
        """Write a `progress` event, unless one was written a moment ago and this is not the last."""
        now = time.monotonic()
        if last or now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self.send("progress", **values)

    def alive(self) -> None:
        """Say that work goes on where no step ends for long, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._last_alive >= ALIVE_SECONDS:
            self._last_alive = now
            self.send("alive")

    def log(self, level: str, message: str) -> None:
        self.send("log", level=level, message=message)
