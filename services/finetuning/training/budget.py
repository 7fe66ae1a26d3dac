"""What a run may cost."""

import time

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.cursor import Cursor
from services.finetuning.training.failures import TrainingFailed


class Budget:
    """Counts the time spent training, over all attempts that left a checkpoint."""

    def __init__(self, spec: TrainingSpec, cursor: Cursor) -> None:
        self._allowed = spec.budget_seconds
        self._earlier, self._started_at = cursor.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self._earlier + time.monotonic() - self._started_at

    @property
    def used_up(self) -> bool:
        return self._allowed is not None and self.seconds > self._allowed

    def failure(self, step: int, total_steps: int) -> TrainingFailed:
        """What ends a run whose budget is used up."""
        return TrainingFailed(
            FailureReason.BUDGET, f"budget of {self._allowed:g} s used up at step {step} of {total_steps}"
        )
