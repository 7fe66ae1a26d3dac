"""AdamW whose two moments take a byte a number each instead of four (Dettmers et al. 2022, 8-bit Optimizers via
Block-wise Quantization, https://arxiv.org/abs/2110.02861).

Written here in plain torch, because the packages that have it are tied to builds of torch or to CUDA. Of the second
moment its root is kept, which spans half as many powers of ten.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

BLOCK = 256
"""Numbers that share a scale."""
SMALL = 4096
"""Parameters below this keep their moments in float32: there is little to save."""
CHUNK = BLOCK << 12
"""Numbers unpacked at once."""
POWERS = 7


def dynamic_codes(signed: bool) -> Tensor:
    """The 256 numbers up to 1 that a byte stands for, ascending, float32: the smaller the power of ten, the fewer
    numbers divide it evenly (section 1.3 of the paper)."""
    found = [0.0, 1.0]
    for power in range(POWERS):
        steps = 2 ** (power + (0 if signed else 1))
        edges = torch.linspace(0.1, 1.0, steps + 1, dtype=torch.float64)
        middles = ((edges[1:] + edges[:-1]) / 2 * 10.0 ** (power - POWERS + 1)).tolist()
        found += middles + ([-middle for middle in middles] if signed else [])
    return torch.tensor(sorted(found), dtype=torch.float64).float()


class Packed:
    """Packs and unpacks numbers with one table."""

    def __init__(self, signed: bool) -> None:
        self._table = dynamic_codes(signed)
        self._borders = (self._table[1:] + self._table[:-1]) / 2

    def unpack(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Float32 numbers of flat uint8 `codes`; `scales` has one a block."""
        values = self._on(codes.device)[0][codes.int()]
        return values * scales.repeat_interleave(BLOCK)[: len(codes)]

    def pack(self, values: Tensor, codes: Tensor, scales: Tensor) -> None:
        """Write the nearest codes of flat float32 `values` and their blocks' scales."""
        blocks = functional.pad(values, (0, -len(values) % BLOCK)).view(-1, BLOCK)
        scales.copy_(blocks.abs().amax(1).clamp_min_(torch.finfo(torch.float32).tiny))
        found = torch.bucketize(blocks / scales[:, None], self._on(codes.device)[1], out_int32=True)
        codes.copy_(found.flatten()[: len(codes)])

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._table.device != device:
            self._table, self._borders = self._table.to(device), self._borders.to(device)
        return self._table, self._borders


class AdamW8bit(Optimizer):
    """AdamW with packed moments. Every part of its state is a tensor."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self._mean, self._root = Packed(signed=True), Packed(signed=False)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state.update(_fresh(parameter))
        state["step"] += 1
        flat, gradient = parameter.view(-1), parameter.grad.reshape(-1)  # type: ignore[union-attr]
        for start in range(0, flat.numel(), CHUNK):
            part = slice(start, start + CHUNK)
            blocks = slice(start // BLOCK, (start + CHUNK) // BLOCK)
            if "mean" in state:
                mean, root = state["mean"][part], state["root"][part]
            else:
                mean = self._mean.unpack(state["mean_codes"][part], state["mean_scales"][blocks])
                root = self._root.unpack(state["root_codes"][part], state["root_scales"][blocks])
            _adamw(flat[part], gradient[part], mean, root, int(state["step"]), group)
            if "mean" not in state:
                self._mean.pack(mean, state["mean_codes"][part], state["mean_scales"][blocks])
                self._root.pack(root, state["root_codes"][part], state["root_scales"][blocks])


def _fresh(parameter: Tensor) -> dict[str, Tensor]:
    count, device = parameter.numel(), parameter.device
    state = {"step": torch.tensor(0.0)}
    if count < SMALL:
        return state | {name: torch.zeros(count, device=device) for name in ("mean", "root")}
    for name, signed in (("mean", True), ("root", False)):
        zero = int((dynamic_codes(signed) == 0).nonzero())
        state[f"{name}_codes"] = torch.full((count,), zero, dtype=torch.uint8, device=device)
        state[f"{name}_scales"] = torch.zeros(-(-count // BLOCK), device=device)
    return state


def _adamw(flat: Tensor, gradient: Tensor, mean: Tensor, root: Tensor, step: int, group: dict[str, Any]) -> None:
    """One update in place (Loshchilov and Hutter 2019, algorithm 2); `root` is that of the second moment."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    root.square_().mul_(second).addcmul_(gradient, gradient, value=1 - second).sqrt_()
    flat.mul_(1 - group["lr"] * group["weight_decay"])
    divisor = (root / (1 - second**step) ** 0.5).add_(group["eps"])
    flat.addcdiv_(mean, divisor, value=-group["lr"] / (1 - first**step))
