"""When a checkpoint is due."""

import time

from services.finetuning.spec import TrainingSpec


class SavingTimes:
    """Every so many steps, every so many seconds, or neither."""

    def __init__(self, spec: TrainingSpec, step: int) -> None:
        self._steps, self._seconds = spec.checkpoint_every_steps, spec.checkpoint_every_seconds
        self.saved(step)

    def saved(self, step: int) -> None:
        """The newest checkpoint is one of `step`."""
        self.step, self._at = step, time.monotonic()

    def due(self, step: int) -> bool:
        if self._steps is not None and step - self.step >= self._steps:
            return True
        return self._seconds is not None and time.monotonic() - self._at >= self._seconds
