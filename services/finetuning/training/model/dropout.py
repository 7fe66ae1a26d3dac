"""Dropout: another rate than the model's own, and a cheap mask on the CPU.

torch draws its CPU masks one double a value on one thread, which is a fifth of a MiniLM step. Here one 64-bit draw
serves four values, so p is rounded to 1/65536.
"""

import torch
from torch import Tensor, nn

DRAWS = 1 << 16
LANES = 4


class CheapDropout(nn.Module):
    """In place of `nn.Dropout`; draws from torch's global generator."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return values
        draws = torch.empty(-(-values.numel() // LANES), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        lanes = draws.view(torch.int16)[: values.numel()].view(values.shape)
        kept = lanes.ge_(round(self.p * DRAWS) - DRAWS // 2)
        return values * _multiplied(kept, 1 / (1 - self.p), values.dtype)


def _multiplied(ones: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """0 or 1 in int16 (memory that may be taken) to 0 or `factor`. The bits of a bfloat16 are as good as an int16's."""
    if dtype == torch.bfloat16:
        bits = int(torch.tensor(factor, dtype=dtype).view(torch.int16))
        return ones.mul_(bits).view(dtype)
    return ones.to(dtype).mul_(factor)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Give every dropout of the model one rate, whether it is a module or a number that a module passes on. Whole
    layers that are left out at random ("layerdrop") are another thing and stay."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in list(vars(module).items()):
            if "dropout" in name and type(value) is float:
                setattr(module, name, rate)


def cheapen_dropout(model: nn.Module) -> None:
    """Replace every `nn.Dropout` in the model."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, CheapDropout(child.p))
