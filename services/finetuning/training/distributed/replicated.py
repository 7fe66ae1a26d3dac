"""Several processes, each with the whole model: data parallelism that ends in the bytes of a run of one process."""

from collections.abc import Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

from services.finetuning.spec import FailureReason
from services.finetuning.training.distributed.exchange import OrderedSum
from services.finetuning.training.distributed.talking import told_by_all, word_of_the_leader
from services.finetuning.training.distributed.team import Backward, Team
from services.finetuning.training.failures import TrainingFailed, is_out_of_memory

FINE, OUT_OF_MEMORY, FAILED = 0.0, 1.0, 2.0


class Replicated(Team):
    """Every process computes some batches of a step and takes the whole step.

    Dropout hangs on a batch's own seed, and sums are made in the order of batches: masters, optimizer and losses are
    those of one process with as many threads, bit for bit, whatever the number of processes.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        super().__init__(rank, size, device)
        self._sum: OrderedSum | None = None

    def agree(self, word: bool) -> bool:
        return word_of_the_leader(word)

    def place(self, model: PreTrainedModel, precision: str) -> str:
        nn.Module.to(model, self.device)
        return precision

    def add_up(self, masters: Mapping[str, nn.Parameter], parts: int, backward: Backward) -> float:
        self._sum = self._sum or OrderedSum(masters.values())
        losses: list[float] = []
        try:
            for first in range(0, parts, self.size):
                losses += self._round(self._sum, first, min(self.size, parts - first), backward)
        except Exception:
            self._sum = None
            raise
        self._sum.settle()
        return sum(losses)

    def _round(self, total: OrderedSum, first: int, batches: int, backward: Backward) -> list[float]:
        """One batch for each of the first processes; their losses."""
        loss, state, failure = 0.0, FINE, None
        if self.rank < batches:
            try:
                loss = backward(first + self.rank, True)
            except Exception as error:
                failure, state = error, OUT_OF_MEMORY if is_out_of_memory(error) else FAILED
        told = told_by_all([state, loss, *total.used()])[:batches]
        if failure is not None:
            raise failure
        _insist([numbers[0] for numbers in told])
        total.add([numbers[2:] for numbers in told])
        return [numbers[1] for numbers in told]

    def check_start(self, step: int, masters: Mapping[str, nn.Parameter]) -> None:
        weights = float(torch.stack([value.detach().double().sum() for value in masters.values()]).sum())
        insist_on_one_start(self, [step, weights])


def insist_on_one_start(team: Team, numbers: list[float]) -> None:
    """Raises TrainingFailed (INTERNAL) unless every process tells the same numbers."""
    told = told_by_all(numbers)
    for rank, other in enumerate(told):
        if other != told[0]:
            message = (
                f"process {rank} of {team.size} begins at {other}, process 0 at {told[0]}: step and sum of weights"
            )
            raise TrainingFailed(FailureReason.INTERNAL, message)


def _insist(states: list[float]) -> None:
    """What happened in another process happens in all, so that all do the same about it."""
    if OUT_OF_MEMORY in states:
        raise torch.OutOfMemoryError(f"process {states.index(OUT_OF_MEMORY)} is out of memory")
    if FAILED in states:
        raise RuntimeError(f"process {states.index(FAILED)} failed")
