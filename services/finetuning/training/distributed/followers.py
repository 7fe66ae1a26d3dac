"""What the processes that do not lead have in place of what only the leader tells and writes."""

import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from services.finetuning.training.checkpointing.checkpoints import (
    Checkpoints,
    SavedCheckpoint,
    whole_optimizer,
    whole_weights,
)
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.checkpointing.rowlog import RowLog
from services.finetuning.training.events import Events
from services.finetuning.training.model.weights import TrainedWeights


class Unheard(Events):
    """Says nothing."""

    def __init__(self) -> None:
        super().__init__(-1)

    def send(self, event: str, **values: Any) -> None:
        pass


class UnwrittenLog(RowLog):
    """Forgets what it is told."""

    def __init__(self) -> None:
        pass

    def append(self, step: int, row_ids: Sequence[str]) -> None:
        pass

    def settle(self) -> int:
        return 0

    def close(self) -> None:
        pass


class ReadCheckpoints(Checkpoints):
    """Reads the leader's checkpoints, and helps it to put together what it writes."""

    def save(
        self, cursor: Cursor, weights: TrainedWeights, optimizer: Optimizer, method: Mapping[str, Tensor]
    ) -> SavedCheckpoint:
        started = time.monotonic()
        for _ in chain(whole_weights(weights), whole_optimizer(weights, optimizer)):
            pass
        return SavedCheckpoint(Path(), "", time.monotonic() - started)

    def _tidy(self) -> None:
        """The leader does it, and only once."""

    def _bring_back_log(self, path: Path) -> None:
        """The leader's log is everybody's."""
