"""Following a training process to its end: reads events, stops it on request, ends it when it hangs or overruns."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from services.finetuning.process import TrainingProcess
from services.finetuning.records import Event
from services.finetuning.spec import EXIT_FINISHED, FailureReason
from services.finetuning.watch import JobWatch

POLL_SECONDS = 0.25
EXIT_SECONDS = 30.0
"""From the end of the events to the end of the process."""

FINAL_REASONS = frozenset(
    {
        FailureReason.BAD_SPEC,
        FailureReason.BAD_DATA,
        FailureReason.BASE_MISSING,
        FailureReason.NOT_FINITE,
        FailureReason.BUDGET,
        FailureReason.REVISION,
    }
)
"""Another attempt would end the same way."""
FULL_DISK_DELAY_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """Seconds that a training process has."""

    stall: float
    """To say something."""
    budget: float
    """In all. It keeps to its own budget; this is for one that can't."""
    stop: float
    """To write a checkpoint and end, once asked."""


@dataclass(frozen=True)
class Ending:
    """How a training process ended."""

    kind: Literal["finished", "stopped", "failed"]
    reason: str = ""
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the validation split, when it finished."""
    delay_seconds: float | None = None
    """Before another attempt, where that is worth one; None: by the number of failures."""

    @property
    def final(self) -> bool:
        return self.reason in FINAL_REASONS

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


class Follower:
    """One training process under supervision; `on_event` is told what it says."""

    def __init__(
        self,
        process: TrainingProcess,
        watch: JobWatch,
        draining: threading.Event,
        limits: Limits,
        on_event: Callable[[Event], None],
    ) -> None:
        self._process, self._watch, self._draining = process, watch, draining
        self._limits, self._on_event = limits, on_event
        self._begun = self._heard = time.monotonic()
        self._asked_at: float | None = None
        self._verdict: Ending | None = None
        self._last: dict[str, Event] = {}

    def follow(self) -> Ending:
        """Until the process has ended. Raises LeaseLost as soon as the job is another worker's."""
        while not self._process.ended:
            for event in self._process.read_events(POLL_SECONDS):
                self._heard = time.monotonic()
                self._last[str(event.get("event"))] = event
                self._on_event(event)
            self._watch.check()
            self._steer()
        return self._ending(self._process.wait(EXIT_SECONDS))

    def _steer(self) -> None:
        now = time.monotonic()
        if self._watch.cancel:
            self._asked_at = self._asked_at or now
            self._process.kill()
        elif self._asked_at is None and (self._watch.pause or self._draining.is_set()):
            self._asked_at = now
            self._process.terminate()
        elif self._asked_at is not None:
            if now - self._asked_at > self._limits.stop:
                self._process.kill()
        elif now - self._heard > self._limits.stall:
            self._give_up(FailureReason.HUNG, f"the training process said nothing for {self._limits.stall:g} s")
        elif now - self._begun > self._limits.budget:
            self._give_up(FailureReason.BUDGET, f"the run took longer than {self._limits.budget:g} s")

    def _give_up(self, reason: str, message: str) -> None:
        self._verdict = self._verdict or Ending("failed", reason, message)
        self._process.kill()

    def _ending(self, code: int) -> Ending:
        if code == EXIT_FINISHED and "finished" in self._last:
            return Ending("finished", metrics=self._last["finished"].get("metrics") or {})
        if self._verdict is not None:
            return self._verdict
        failed = self._last.get("failed")
        said = _said(failed) if failed else None
        if self._asked_at is not None and not (said and said.final):
            return Ending("stopped")
        return said or Ending("failed", "CRASHED", self._crash(code))

    def _crash(self, code: int) -> str:
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        complaint = self._process.complaint()
        return f"the training process was {how}" + (f": {complaint}" if complaint else "")


def _said(failed: Event) -> Ending:
    reason = str(failed["reason"])
    delay = FULL_DISK_DELAY_SECONDS if reason == FailureReason.DISK_FULL else None
    return Ending("failed", reason, str(failed["message"]), delay_seconds=delay)
