"""One training process kept ready with its imports done, so that a run starts seconds earlier."""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from services.finetuning.process import STANDBY, TrainingProcess


class Spares:
    """Hands out training processes; a dead or used spare is made up for by a fresh start.

    As a context manager it has a spare from the beginning, and leaves none behind.
    """

    def __init__(self, command: Sequence[str] = STANDBY) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._spare: TrainingProcess | None = None

    def refill(self) -> None:
        """Starts a spare unless one is waiting; call it when nothing else is going on."""
        with self._lock:
            if self._spare is not None and self._spare.alive:
                return
            if self._spare is not None:
                self._spare.close()
            self._spare = TrainingProcess(self._command, quiet=True)

    def begin(self, spec: Path, lock: int) -> TrainingProcess:
        """A process that has the spec: the spare if there is one, else a fresh one. Raises OSError if none starts."""
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            try:
                spare.assign(spec, lock)
            except OSError:
                spare.close()
            else:
                return spare
        fresh = TrainingProcess(self._command)
        try:
            fresh.assign(spec, lock)
        except OSError:
            fresh.close()
            raise
        return fresh

    def __enter__(self) -> Self:
        self.refill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
