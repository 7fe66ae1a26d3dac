"""Keys and values of the running requests: one slot a request, written in place.

Slots in use are kept dense, so attention over all of them is one batched product without a gather.
Memory is zeroed lazily by the system: a slot costs only the positions that were ever written.
"""

import torch


class SlotCache:
    """Per layer two tensors of shape (slots, kv heads, capacity, head size)."""

    def __init__(
        self,
        layers: int,
        slots: int,
        kv_heads: int,
        capacity: int,
        head_size: int,
        dtype: torch.dtype,
        device: str = "cpu",
    ) -> None:
        shape = (slots, kv_heads, capacity, head_size)
        self.slots, self.capacity, self.kv_heads, self.head_size = slots, capacity, kv_heads, head_size
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot into another."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def clear(self, slot: int, length: int) -> None:
        """Zero a slot. Needed after a request that wrote NaN: a masked NaN still spoils a sum."""
        for tensor in (*self.keys, *self.values):
            tensor[slot, :, :length] = 0
