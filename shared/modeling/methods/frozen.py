"""A frozen base held in 8 or 4 bits while an adapter is trained on it (QLoRA, Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314).

Written here, because bitsandbytes and torchao tie themselves to builds of torch, and all that is needed is a product
whose weight is unpacked when it is used, forward and backward. Only the memory between uses is saved.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from shared.errors import InvalidArgument

BLOCK = 64
"""Weights of one row that share a scale in 4 bits."""
# The 16 values of NF4, which split a normal distribution evenly (appendix E of the paper).
NF4 = torch.tensor(
    [
        -1.0,
        -0.6961928,
        -0.5250731,
        -0.3949175,
        -0.2844414,
        -0.1847734,
        -0.09105004,
        0.0,
        0.0795803,
        0.1609302,
        0.2461123,
        0.3379152,
        0.4407098,
        0.562617,
        0.7229568,
        1.0,
    ]
)


class Int8Weight(nn.Module):
    """A matrix as 8-bit integers with a scale a row."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scale = weight.float().abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / 127
        self.register_buffer("codes", (weight.float() / scale).round().to(torch.int8), persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        return self.get_buffer("codes").to(dtype) * self.get_buffer("scale").to(dtype)


class Nf4Weight(nn.Module):
    """A matrix as 4-bit codes, two a byte, with a scale for each `BLOCK` of them."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = weight.shape
        blocks = functional.pad(weight.float().flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
        scale = blocks.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        table = NF4.to(weight.device)
        borders = (table[1:] + table[:-1]) / 2
        codes = torch.bucketize(blocks / scale, borders).to(torch.uint8)
        self.register_buffer("codes", codes[:, ::2] << 4 | codes[:, 1::2], persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("table", table, persistent=False)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        codes = self.get_buffer("codes")
        pairs = torch.stack((codes >> 4, codes & 15), dim=-1).flatten(1).int()
        values = self.get_buffer("table").to(dtype)[pairs] * self.get_buffer("scale").to(dtype)
        return values.flatten()[: self.shape.numel()].view(self.shape)


PACKED: dict[str, type[Int8Weight] | type[Nf4Weight]] = {"int8": Int8Weight, "int4": Nf4Weight}


class FrozenLinear(nn.Module):
    """`nn.Linear` over a packed weight, which gets no gradient."""

    def __init__(self, linear: nn.Linear, packed: nn.Module) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.packed = packed
        self.bias = linear.bias

    @property
    def weight(self) -> Tensor:
        """Unpacked, float32; for what looks at a layer's weight from outside, such as DoRA's norms."""
        made: Tensor = _unpacked(self.packed, torch.float32)
        return made

    def forward(self, x: Tensor) -> Tensor:
        product: Any = _Product
        made: Tensor = product.apply(x, self.packed)
        return made if self.bias is None else made + self.bias.to(made.dtype)


class _Product(torch.autograd.Function):
    """x W^T. The backward pass unpacks again, so that no unpacked weight is kept between the two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: nn.Module) -> Tensor:
        ctx.packed = packed
        return functional.linear(x, _unpacked(packed, x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        return gradient @ _unpacked(ctx.packed, gradient.dtype), None


def hold_frozen(model: PreTrainedModel, precision: str) -> None:
    """Pack the weights of all frozen linear layers but the output layer; float32: leave them.

    Raises InvalidArgument for a model that has none of them.
    """
    if precision == "float32":
        return
    typed: Any = model
    output = typed.get_output_embeddings()
    frozen = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child is not output and not child.weight.requires_grad
    ]
    if not frozen:
        raise InvalidArgument(
            f"method.base_precision: the base model has no linear layers that could be held as {precision}; "
            "leave it at float32",
            field="method.base_precision",
        )
    for parent, name, child in frozen:
        setattr(parent, name, FrozenLinear(child, PACKED[precision](child.weight.detach())))


def _unpacked(packed: nn.Module, dtype: torch.dtype) -> Tensor:
    assert isinstance(packed, (Int8Weight, Nf4Weight))
    return packed.unpacked(dtype)
