"""Weights in eight bits: half the bytes of bfloat16, so nearly half the time where memory bandwidth is the limit.

Symmetric, one scale an output channel (the greatest magnitude becomes 127): w = q * scale.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from shared.telemetry.logs import get_logger

log = get_logger(__name__)
PACKED_ROWS = 48  # the packed product's time grows with every row; beyond, making the weights wide once is cheaper
GREATEST = 127


@dataclass(frozen=True)
class Dense:
    """Weights (out, in) as they are."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    @property
    def memory_bytes(self) -> int:
        return self.weight.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight, self.bias)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """The weights of some outputs: embeddings of tokens, where the head is tied to them."""
        return functional.embedding(index, self.weight)


@dataclass(frozen=True)
class Int8:
    """Weights (out, in) as int8 and `scale` (out) in the dtype of the activations."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None = None

    @property
    def memory_bytes(self) -> int:
        return self.weight.nbytes + self.scale.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) <= PACKED_ROWS and x.device.type == "cpu":
            out: torch.Tensor = torch._weight_int8pack_mm(x.contiguous(), self.weight, self.scale)
        else:
            out = functional.linear(x, self.weight.to(x.dtype)) * self.scale
        return out if self.bias is None else out + self.bias

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """As `Dense.rows`."""
        return self.weight[index].to(self.scale.dtype) * self.scale[index, None]


def quantize(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Int8:
    """Round weights (out, in) to eight bits; scales keep the dtype of the weights."""
    wide = weight.float()
    scale = (wide.abs().amax(dim=1) / GREATEST).clamp_(min=torch.finfo(torch.float32).tiny)
    scale = scale.to(weight.dtype)  # rounded before it divides, so that the product with it is as near as can be
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    rounded = (wide / scale.float()[:, None]).round_().clamp_(-GREATEST, GREATEST)
    return Int8(rounded.to(torch.int8), scale, bias)


class Int8Linear(torch.nn.Module):
    """Takes the place of a `torch.nn.Linear` in a model that keeps its own modules."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        small = quantize(linear.weight.data)
        self.register_buffer("weight", small.weight)
        self.register_buffer("scale", small.scale)
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = Int8(self.weight, self.scale, self.bias)
        return product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self.out_features)


def quantize_modules(model: PreTrainedModel) -> None:
    """Replace the linear products of a model but its head, in place; says so when it has none."""
    head: torch.nn.Module = cast(Any, model).get_output_embeddings()
    replaced = 0
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, torch.nn.Linear) and module is not head:
                setattr(parent, name, Int8Linear(module))
                replaced += 1
    if not replaced:
        log.warning("no weights that can be kept as int8", model_type=model.config.model_type)
