"""The forward pass of the Llama family, written lean: half the time of the general one on a CPU.

Weights of query, key and value are one product, gate and up another; rotation tables are made once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from services.inference.engine.adapters import Adapter, LowRank, add_product, stack
from services.inference.engine.forward import adapter_groups, new_cache
from services.inference.engine.quantization import Dense, Int8, quantize
from services.inference.engine.step import Step

FAMILY = frozenset({"llama", "qwen2", "qwen3", "mistral"})
STATIC_ROPES = frozenset({"default", "linear", "llama3", "yarn"})
PRODUCTS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
QKV, OUT, GATE_UP, DOWN = range(4)

Parts = Sequence[LowRank | None]
Groups = list[tuple[Sequence[Parts], torch.Tensor | None]]


@dataclass(frozen=True)
class Layer:
    """The weights of one decoder layer; `products` are fused as `PRODUCTS` says, their outputs `widths` wide."""

    attention_norm: torch.Tensor
    query_norm: torch.Tensor | None
    key_norm: torch.Tensor | None
    mlp_norm: torch.Tensor
    products: Sequence[Dense | Int8]
    widths: Sequence[Sequence[int]]
    window: int | None


class LlamaForward:
    """Takes the weights over from a transformers model of the family (the model is not usable afterwards)."""

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether this file computes exactly what the model's own modules would."""
        config = model.config
        rope = getattr(config, "rope_parameters", None) or {}
        return (
            config.model_type in FAMILY
            and config.hidden_act == "silu"
            and not getattr(config, "mlp_bias", False)
            and rope.get("rope_type", "default") in STATIC_ROPES
        )

    def __init__(self, model: Any, pages: int, capacity: int, int8: bool = False) -> None:
        config = model.config
        self.cache = new_cache(model, pages, capacity)
        self._query_heads: int = config.num_attention_heads
        self.vocabulary: int = config.vocab_size
        self._size = self.cache.head_size
        self._heads = self._query_heads + 2 * self.cache.kv_heads
        self._epsilon: float = config.rms_norm_eps
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        tied = embedding.weight is head.weight
        self._head = _keep(head.weight.data, None, int8)
        self._embedding = self._head if tied else Dense(embedding.weight.data)
        embedding.weight = head.weight = None
        self._norm: torch.Tensor = model.model.norm.weight.data
        self._cosine, self._sine = _rotation(model, capacity)
        self._layers = [_take(layer, config, int8) for layer in model.model.layers]
        self._stacked: WeakKeyDictionary[Adapter, list[Parts]] = WeakKeyDictionary()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights."""
        ends = {id(one): one.memory_bytes for one in (self._head, self._embedding)}
        return sum(ends.values()) + sum(one.memory_bytes for layer in self._layers for one in layer.products)

    def __call__(self, step: Step) -> torch.Tensor:
        hidden = self._embedding.rows(step.ids)
        cosine, sine = self._cosine[step.positions], self._sine[step.positions]
        groups: Groups = [(self._stack(adapter), rows) for adapter, rows in adapter_groups(step)]
        for index, layer in enumerate(self._layers):
            normed = self._rms(hidden, layer.attention_norm)
            mixed = _product(layer, index, QKV, normed, groups).view(-1, self._heads, self._size)
            attended = self._attend(index, layer, mixed, cosine, sine, step)
            hidden = hidden + _product(layer, index, OUT, attended, groups)
            normed = self._rms(hidden, layer.mlp_norm)
            gate, up = _product(layer, index, GATE_UP, normed, groups).chunk(2, dim=-1)
            hidden = hidden + _product(layer, index, DOWN, functional.silu(gate).mul_(up), groups)
        last = self._rms(hidden[step.wanted], self._norm)
        return self._head(last).float()

    def _attend(
        self, index: int, layer: Layer, mixed: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, step: Step
    ) -> torch.Tensor:
        rotated = self._query_heads + self.cache.kv_heads
        if layer.query_norm is None or layer.key_norm is None:
            turned = _rotate(mixed[:, :rotated], cosine, sine)
            query, key = turned[:, : self._query_heads], turned[:, self._query_heads :]
        else:
            query = _rotate(self._rms(mixed[:, : self._query_heads], layer.query_norm), cosine, sine)
            key = _rotate(self._rms(mixed[:, self._query_heads : rotated], layer.key_norm), cosine, sine)
        attended = step.attend(index, query, key, mixed[:, rotated:], self._size**-0.5, window=layer.window)
        return attended.reshape(len(mixed), -1)

    def _rms(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(hidden, (hidden.shape[-1],), weight, self._epsilon)

    def _stack(self, adapter: Adapter) -> list[Parts]:
        """The adapter's weights for each layer and fused product; made once."""
        found = self._stacked.get(adapter)
        if found is None:
            found = [_stack_layer(layer, adapter.layers.get(index, {})) for index, layer in enumerate(self._layers)]
            self._stacked[adapter] = found
        return found


def _product(layer: Layer, index: int, which: int, x: torch.Tensor, groups: Groups) -> torch.Tensor:
    out = layer.products[which](x)
    for stacked, rows in groups:
        part = stacked[index][which]
        if part is not None:
            add_product(out, x, part, rows)
    return out


def _stack_layer(layer: Layer, parts: Mapping[str, LowRank]) -> Parts:
    named = zip(PRODUCTS, layer.widths, strict=True)
    return [stack([parts.get(name) for name in names], widths) for names, widths in named]


def _rotate(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding (Su et al. 2021) of (tokens, heads, size), halves paired as in GPT-NeoX."""
    swapped = heads.roll(heads.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads * cosine, swapped, sine)


def _rotation(model: Any, capacity: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables of shape (capacity, 1, size); the sine carries the sign of the first half."""
    rotary = model.model.rotary_emb
    positions = torch.arange(capacity, dtype=torch.float32, device=rotary.inv_freq.device)
    angles = torch.outer(positions, rotary.inv_freq.float())
    cosine, sine = angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling
    cosine, sine = torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1)
    return cosine[:, None].to(model.dtype), sine[:, None].to(model.dtype)


def _take(layer: Any, config: Any, int8: bool) -> Layer:
    """Fuse a layer's weights and drop the originals, so that memory holds them once."""
    attention, mlp = layer.self_attn, layer.mlp
    fused = [[getattr(attention if name in attention._modules else mlp, name) for name in names] for names in PRODUCTS]
    query_norm, key_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
    return Layer(
        attention_norm=layer.input_layernorm.weight.data,
        query_norm=None if query_norm is None else query_norm.weight.data,
        key_norm=None if key_norm is None else key_norm.weight.data,
        mlp_norm=layer.post_attention_layernorm.weight.data,
        products=[_fuse(parts, int8) for parts in fused],
        widths=[[part.out_features for part in parts] for parts in fused],
        window=getattr(attention, "sliding_window", getattr(config, "sliding_window", None)),
    )


def _fuse(parts: Sequence[Any], int8: bool) -> Dense | Int8:
    biases = [part.bias for part in parts]
    weight = parts[0].weight.data if len(parts) == 1 else torch.cat([part.weight.data for part in parts])
    bias = None if biases[0] is None else torch.cat([bias.data for bias in biases])
    for part in parts:
        part.weight = None
    return _keep(weight, bias, int8)


def _keep(weight: torch.Tensor, bias: torch.Tensor | None, int8: bool) -> Dense | Int8:
    return quantize(weight, bias) if int8 else Dense(weight, bias)
