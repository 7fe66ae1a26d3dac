"""Products of low rank beside a frozen one, in as few passes over the activations as they need.

PEFT computes W x + s (B (A x)): the small product is made as wide as the layer, scaled and added, each a pass of its own
over all activations, forwards and backwards. Here s goes over the narrow A x, and the sums into the products. Layers
that read the same input are computed together (`joined`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from services.finetuning.training.model.joined import Joined, alike, cut, same_input, share, together

ADAPTER = "default"


def fuse_low_rank(model: PreTrainedModel, join: bool = True) -> int:
    """Let the layers that can do it; how many they are. The others (dropout, DoRA, packed weights) stay PEFT's. Weights
    that move about, as FSDP's do, can't be joined."""
    found = [module for module in model.modules() if isinstance(module, Linear) and _is_plain(module)]
    siblings = [layers for layers in same_input(model) if all(layer in found for layer in layers)] if join else []
    groups = [layers for layers in siblings if alike([layer.base_layer for layer in layers])]
    joined = {layer for layers in groups for layer in layers}
    groups += [[layer] for layer in found if layer not in joined]
    for layers in groups:
        low_rank = _LowRankLayers(layers)
        share(layers, low_rank.products, low_rank.fits)
    return len(found)


class _LowRankLayers:
    """Layers that read the same input."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = layers
        bases = [layer.base_layer for layer in layers]
        self._frozen = _One(bases[0]) if len(bases) == 1 else Joined(bases)
        self._scalings = [layer.scaling[ADAPTER] for layer in layers]

    def fits(self, x: Tensor) -> bool:
        off = any(layer.disable_adapters or layer.merged for layer in self._layers)
        return not off and x.dtype == self._layers[0].lora_A[ADAPTER].weight.dtype and self._frozen.fits(x)

    def products(self, x: Tensor) -> tuple[Tensor, ...]:
        downs = [layer.lora_A[ADAPTER].weight for layer in self._layers]
        ups = [layer.lora_B[ADAPTER].weight for layer in self._layers]
        function: Any = _LowRank
        frozen = self._frozen
        made: tuple[Tensor, ...] = function.apply(x, frozen.weight, frozen.bias, self._scalings, *downs, *ups)
        return made


class _One:
    """As `Joined`, of one layer, wherever its weight lies."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    @property
    def weight(self) -> Tensor:
        return self._layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self._layer.bias

    def fits(self, x: Tensor) -> bool:
        return x.dtype == self.weight.dtype and x.ndim > 1


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
    """x (… x in) W^T + b + (scaling x A^T) B^T of layers that read one x. W and b, of all layers, are frozen; then
    come an A (rank x in) and a B (out x rank) of each."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scalings: Sequence[float], *factors: Tensor
    ) -> tuple[Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])
        downs, ups = _halves(factors)
        narrow = rows @ _stacked(downs).T
        for part, scaling in zip(_parts(narrow, downs), scalings, strict=True):
            part.mul_(scaling)
        ctx.save_for_backward(rows, weight, narrow, *factors)
        ctx.scalings, ctx.shape = scalings, x.shape
        sizes = [len(up) for up in ups]
        made = functional.linear(rows, weight, bias)
        for wide, up, part in zip(torch.split(made, sizes, 1), ups, _parts(narrow, downs), strict=True):
            wide.addmm_(part, up.T)
        return cut(made, sizes, x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, narrow, *factors = ctx.saved_tensors
        downs, ups = _halves(factors)
        given = [gradient.reshape(-1, gradient.shape[-1]) for gradient in gradients]
        of_ups = [part.T @ narrowed for part, narrowed in zip(given, _parts(narrow, downs), strict=True)]
        scaled = zip(given, ups, ctx.scalings, strict=True)
        of_narrow = together([(part @ up).mul_(scaling) for part, up, scaling in scaled])
        of_downs = torch.split(of_narrow.T @ rows, [len(down) for down in downs])
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (together(given) @ weight).addmm_(of_narrow, _stacked(downs)).view(ctx.shape)
        return of_x, None, None, None, *of_downs, *of_ups


def _halves(factors: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    middle = len(factors) // 2
    return factors[:middle], factors[middle:]


def _parts(narrow: Tensor, downs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.split(narrow, [len(down) for down in downs], 1)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
