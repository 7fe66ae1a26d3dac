"""When to stop early: on SIGTERM or Ctrl-C, and when the supervisor is gone. Torch-free."""

import os
import signal
from types import FrameType


class StopRequest:
    """Set by a signal; asked between batches."""

    def __init__(self) -> None:
        self._signalled = False
        self._parent = os.getppid()

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as a request to stop after the step under way."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    @property
    def wanted(self) -> bool:
        """Also true when the parent process died: its successor will start another training process."""
        return self._signalled or os.getppid() != self._parent
