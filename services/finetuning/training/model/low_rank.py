"""Products of low rank beside a frozen one, in as few passes over the activations as they need.

PEFT computes W x + s (B (A x)): the small product is made as wide as the layer, scaled and added, each a pass of its own
over all activations, forwards and backwards. Here s goes over the narrow A x, and the sums into the products.
"""

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

ADAPTER = "default"


def fuse_low_rank(model: PreTrainedModel) -> int:
    """Let the layers that can do it; how many they are. The others (dropout, DoRA, packed weights) stay PEFT's."""
    found = [module for module in model.modules() if isinstance(module, Linear) and _is_plain(module)]
    for module in found:
        module.forward = _Fused(module)  # type: ignore[method-assign]
    return len(found)


class _Fused:
    """A layer's forward."""

    def __init__(self, layer: Linear) -> None:
        self._layer, self._peft = layer, layer.forward

    def __call__(self, x: Tensor, *others: Any, **named: Any) -> Tensor:
        layer = self._layer
        base, down, up = layer.base_layer, layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        if others or named or layer.disable_adapters or layer.merged or x.dtype != down.dtype:
            found: Tensor = self._peft(x, *others, **named)
            return found
        product: Any = _LowRank
        made: Tensor = product.apply(x, base.weight, base.bias, down, up, layer.scaling[ADAPTER])
        return made


def _is_plain(layer: Linear) -> bool:
    return (
        type(layer.base_layer) is nn.Linear
        and not layer.base_layer.weight.requires_grad
        and (layer.base_layer.bias is None or not layer.base_layer.bias.requires_grad)
        and list(layer.lora_A) == [ADAPTER] == list(layer.active_adapters)
        and isinstance(layer.lora_dropout[ADAPTER], nn.Identity)
        and layer.lora_B[ADAPTER].bias is None
        and not layer.lora_variant
    )


class _LowRank(torch.autograd.Function):
    """x (… x in) W^T + b + (scaling x A^T) B^T, W (out x in) and b being frozen, A (rank x in), B (out x rank)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow = (rows @ down.T).mul_(scaling)
        ctx.save_for_backward(rows, weight, down, up, narrow)
        ctx.scaling, ctx.shape = scaling, x.shape
        return functional.linear(rows, weight, bias).addmm_(narrow, up.T).view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, weight, down, up, narrow = ctx.saved_tensors
        given = gradients[0].reshape(-1, len(weight))
        of_narrow = (given @ up).mul_(ctx.scaling)
        of_up, of_down = given.T @ narrow, of_narrow.T @ rows
        of_x = (given @ weight).addmm_(of_narrow, down).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return of_x, None, None, of_down, of_up, None
