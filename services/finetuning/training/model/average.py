"""A moving average of the weights that are trained (Polyak and Juditsky 1992), which is validated and kept in their
place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from services.finetuning.training.model.sharding import split_like, whole
from services.finetuning.training.model.weights import TrainedWeights


class AverageWeights:
    """The average by name, float32, beside the masters."""

    def __init__(self, weights: TrainedWeights, decay: float) -> None:
        self._weights, self._decay = weights, decay
        self.values = {name: master.detach().clone() for name, master in weights.masters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the masters after step number `step` (from 1). In the beginning the decay is (1 + step) / (10 + step),
        so that the average of a short run is not made of the weights that it began with."""
        decay = min(self._decay, (1 + step) / (10 + step))
        masters = [master.detach() for master in self._weights.masters.values()]
        torch._foreach_lerp_(list(self.values.values()), masters, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The average as a checkpoint holds it; every process of a run has to ask."""
        return {name: whole(value) for name, value in self.values.items()}

    @torch.no_grad()
    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take the average from a checkpoint."""
        assert values.keys() == self.values.keys(), "average of another model"
        for name, value in values.items():
            self.values[name].copy_(split_like(value, self.values[name]))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the model computes with the average."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Let average and masters change places, in the model too."""
        for name, master in self._weights.masters.items():
            kept = master.detach().clone()
            master.copy_(self.values[name])
            self.values[name].copy_(kept)
        self._weights.publish()
