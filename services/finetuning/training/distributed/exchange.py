"""Adding up gradients of several processes in the order of a step's batches, so that no bit depends on how many
processes there are.

A process computes every size-th batch. After each round of batches every process gets a stretch of all vectors from
everybody and adds it to its sum, batch after batch as one process would; at the end of a step the summed stretches go
to everybody. That moves as many bytes as the ring of an all-reduce (Patarasu and Yuan 2009), whose order of
additions depends on the number of processes.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

BUCKET_VALUES = 1 << 23
"""Values that travel at once, at most, unless a matrix alone has more."""
NOTHING = -0.0
"""Added to any number it leaves every bit as it was, which 0.0 does not."""


class OrderedSum:
    """The sum of gradients of some float32 parameters over a step."""

    def __init__(self, params: Iterable[nn.Parameter]) -> None:
        self._params = list(params)
        self._buckets = [_Bucket(params) for params in _cut(self._params)]
        self._used = [False] * len(self._params)

    def used(self) -> list[float]:
        """1 for each parameter that has a gradient here now."""
        return [float(value.grad is not None) for value in self._params]

    def add(self, used: Sequence[Sequence[float]]) -> None:
        """Add a round: the gradients that are here now and in the other processes; `used` as all processes told,
        for as many of them as had a batch. The gradients are gone afterwards."""
        here = [any(told) for told in zip(*used, strict=True)]
        self._used = [now or before for now, before in zip(here, self._used, strict=True)]
        start = 0
        for bucket in self._buckets:
            end = start + len(bucket.params)
            if any(here[start:end]):
                bucket.add(len(used))
            start = end

    def settle(self) -> None:
        """Give every parameter the sum of its gradients, and begin anew."""
        start = 0
        for bucket in self._buckets:
            end = start + len(bucket.params)
            if any(self._used[start:end]):
                bucket.settle(self._used[start:end])
            start = end
        self._used = [False] * len(self._params)


class _Bucket:
    """Parameters whose gradients travel as one vector."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params = params
        self._size = distributed.get_world_size()
        self._values = sum(value.numel() for value in params)
        self._stretch = -(-self._values // self._size)
        self._sum: Tensor | None = None
        """Of this process's stretch of the vector."""

    def add(self, batches: int) -> None:
        vector = self._vector(NOTHING)
        for place, value in self._places():
            if value.grad is not None:
                vector[place].copy_(value.grad.flatten())
                value.grad = None
        received = torch.empty_like(vector)
        distributed.all_to_all_single(received, vector)
        for one in received.view(self._size, -1)[:batches]:
            self._sum = one.clone() if self._sum is None else self._sum.add_(one)

    def settle(self, used: Sequence[bool]) -> None:
        assert self._sum is not None
        vector = self._vector(0.0)
        distributed.all_to_all_single(vector, self._sum.repeat(self._size))
        self._sum = None
        for (place, value), there in zip(self._places(), used, strict=True):
            if there:
                value.grad = vector[place].view_as(value).clone()

    def _vector(self, filling: float) -> Tensor:
        return torch.full((self._stretch * self._size,), filling, device=self.params[0].device)

    def _places(self) -> Iterable[tuple[slice, nn.Parameter]]:
        start = 0
        for value in self.params:
            yield slice(start, start + value.numel()), value
            start += value.numel()


def _cut(params: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for value in params:
        if not buckets or value.numel() > room:
            buckets.append([])
            room = BUCKET_VALUES
        buckets[-1].append(value)
        room -= value.numel()
    return buckets
