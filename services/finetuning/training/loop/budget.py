"""What a run may cost."""

import time

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.failures import TrainingFailed


class Budget:
    """Counts the time spent training, over all attempts that left a checkpoint."""

    def __init__(self, spec: TrainingSpec, cursor: Cursor) -> None:
        self._allowed, self._steps = spec.budget_seconds, spec.budget_steps
        self._earlier, self._started_at = cursor.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._earlier + time.monotonic() - self._started_at

    def used_up(self, step: int) -> bool:
        """Whether no step may follow `step`."""
        return self._steps_used_up(step) or (self._allowed is not None and self.seconds > self._allowed)

    def failure(self, step: int, total_steps: int) -> TrainingFailed:
        """What ends a run whose budget is used up."""
        allowed = f"{self._steps} steps" if self._steps_used_up(step) else f"{self._allowed:g} s"
        return TrainingFailed(FailureReason.BUDGET, f"budget of {allowed} used up at step {step} of {total_steps}")

    def _steps_used_up(self, step: int) -> bool:
        return self._steps is not None and step >= self._steps
