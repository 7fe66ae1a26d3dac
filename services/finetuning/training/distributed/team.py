"""The processes of a run, as one of them sees the others.

Every process reads the same rows, makes the same model and goes through the same steps. What differs is which batches
of a step it computes, and that the first one alone, the leader, decides, tells and writes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

Backward = Callable[[int, bool], float]
"""Computes a part of a step: adds its gradients to the masters', unless it does not count, and gives its loss."""


class Team(ABC):
    """Processes 0 … size - 1 of one run; this one is `rank`."""

    in_pieces: ClassVar[bool] = False
    """Whether the model can be computed only by all processes together."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

    @property
    def leads(self) -> bool:
        """Whether this process decides, tells and writes."""
        return self.rank == 0

    @abstractmethod
    def agree(self, word: bool) -> bool:
        """The leader's word, in every process."""

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """What the leader does here is done before the others begin with it."""
        if not self.leads:
            self.agree(True)
        yield
        if self.leads:
            self.agree(True)

    @abstractmethod
    def place(self, model: PreTrainedModel, precision: str) -> str:
        """Bring the model, or this process's share of it, to the device; the precision that is left to the weights."""

    @abstractmethod
    def add_up(self, masters: Mapping[str, nn.Parameter], parts: int, backward: Backward) -> float:
        """Compute the parts of a step, each in one process; every process ends with the sum of all gradients, or its
        share of it, and with the sum of the losses. What one of them raises ends it for all."""

    @abstractmethod
    def check_start(self, step: int, masters: Mapping[str, nn.Parameter]) -> None:
        """Before the first step: raises TrainingFailed (INTERNAL) unless all begin at the same place."""

    def reassemble(self, model: PreTrainedModel) -> None:  # noqa: B027
        """Afterwards: the leader holds the whole model."""


class Alone(Team):
    """A run of one process."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(0, 1, device)

    def agree(self, word: bool) -> bool:
        return word

    def place(self, model: PreTrainedModel, precision: str) -> str:
        nn.Module.to(model, self.device)
        return precision

    def add_up(self, masters: Mapping[str, nn.Parameter], parts: int, backward: Backward) -> float:
        return sum(backward(part, True) for part in range(parts))

    def check_start(self, step: int, masters: Mapping[str, nn.Parameter]) -> None:
        pass
