"""Weights in the order in which the native step reads them: panels of 32 outputs, packed once when a model is loaded."""

import ctypes
import mmap
from collections.abc import Sequence

import torch
from torch.nn import functional

from services.inference.engine.adapters import LowRank
from services.inference.engine.native.library import INT8, Delta, Linear

PANEL = 32
ALIGNMENT = 64
HUGE_PAGE = 2 << 20


class Arena:
    """Memory for all weights of a model, in huge pages where the system grants them: reading it is the step's floor."""

    def __init__(self, size: int) -> None:
        self.size = size
        area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        area.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = torch.frombuffer(area, dtype=torch.uint8)
        self.used = 0

    def keep(self, tensor: torch.Tensor) -> int:
        """Copy a tensor in; its address, valid as long as the arena is."""
        start, self.used = self.used, self.used + aligned(tensor.nbytes)
        assert self.used <= self.size
        self._bytes[start : start + tensor.nbytes] = tensor.contiguous().view(-1).view(torch.uint8)
        return self._bytes.data_ptr() + start


def advise_huge_pages(tensor: torch.Tensor) -> None:
    """Ask the system to back a large tensor by huge pages: attention reads it in pieces from all over."""
    start = -(-tensor.data_ptr() // HUGE_PAGE) * HUGE_PAGE
    length = (tensor.data_ptr() + tensor.nbytes - start) // HUGE_PAGE * HUGE_PAGE
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_HUGEPAGE)


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def panels(weight: torch.Tensor, together: int) -> torch.Tensor:
    """(outputs, inputs) as (panels, inputs / together, 32, together); outputs are filled up with zeros."""
    outputs, inputs = weight.shape
    assert inputs % together == 0
    filled = functional.pad(weight, (0, 0, 0, -outputs % PANEL))
    return filled.view(-1, PANEL, inputs // together, together).permute(0, 2, 1, 3).contiguous()


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 (outputs, inputs), symmetric, and its float32 scale (outputs): the largest weight of an output is 127."""
    weight = weight.float()
    scale = weight.abs().amax(dim=1).clamp_min(1e-30) / 127
    return (weight / scale[:, None]).round_().to(torch.int8), scale


def interleave(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Rows of two matrices in turns of 16, so that a panel holds both sides of 16 products."""
    pair = torch.stack((gate.reshape(-1, 16, gate.shape[1]), up.reshape(-1, 16, up.shape[1])), dim=1)
    return pair.view(-1, gate.shape[1])


def linear_bytes(outputs: int, inputs: int, int8: bool) -> int:
    """What `pack_linear` takes of an arena at most."""
    rows = -(-outputs // PANEL) * PANEL
    return aligned(rows * inputs * (1 if int8 else 2)) + 3 * aligned(rows * 4)


def pack_linear(arena: Arena, weight: torch.Tensor, bias: torch.Tensor | None, kind: int) -> Linear:
    """A product y = weight x + bias for the native step; `weight` is bfloat16 (outputs, inputs)."""
    outputs, inputs = weight.shape
    extra = -outputs % PANEL
    packed = Linear(inputs=inputs, panels=(outputs + extra) // PANEL)
    if kind == INT8:
        whole, scale = quantise(weight)
        packed.weight = arena.keep(panels(whole, 4))
        packed.scale = arena.keep(functional.pad(scale, (0, extra)))
        packed.sum = arena.keep(functional.pad(whole.sum(dim=1, dtype=torch.int32), (0, extra)))
    else:
        packed.weight = arena.keep(panels(weight.to(torch.bfloat16), 2))
    if bias is not None:
        packed.bias = arena.keep(functional.pad(bias.float(), (0, extra)))
    return packed


def pack_delta(
    parts: Sequence[LowRank | None], outputs: Sequence[int], mixed: bool
) -> tuple[Delta, list[torch.Tensor]]:
    """The adapters' share of a fused product, and the tensors that it points into.

    `outputs` are the rows of each projection. `mixed` says that the rows of two projections take turns of 16
    (`interleave`), so that every panel needs the ranks of both; otherwise each has panels of its own.
    """
    present = [(index, part) for index, part in enumerate(parts) if part is not None]
    delta = Delta(rank=0)
    delta.end[0] = sum(outputs) // PANEL
    if not present:
        return delta, []
    ranks = [0 if part is None else part.a.shape[0] + part.a.shape[0] % 2 for part in parts]
    rank = -(-sum(ranks) // PANEL) * PANEL
    down = torch.zeros(rank, present[0][1].a.shape[1], dtype=torch.bfloat16)
    blocks = [torch.zeros(count, rank, dtype=torch.bfloat16) for count in outputs]
    for index, part in present:
        start = sum(ranks[:index])
        down[start : start + part.a.shape[0]] = part.a
        blocks[index][:, start : start + part.a.shape[0]] = part.b
    up = interleave(*blocks) if mixed else torch.cat(blocks)
    kept = [panels(down, 2), panels(up, 2)]
    delta.rank, delta.down, delta.up = rank, kept[0].data_ptr(), kept[1].data_ptr()
    if mixed:
        delta.pair_count[0] = sum(ranks) // 2
        return delta, kept
    for index, count in enumerate(ranks):
        delta.end[index] = sum(outputs[: index + 1]) // PANEL
        delta.pair_start[index] = sum(ranks[:index]) // 2
        delta.pair_count[index] = count // 2
    return delta, kept
