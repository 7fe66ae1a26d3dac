"""A transformers model of the Llama family, and adapters beside it, handed over to the native step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from services.inference.engine.adapters import Adapter, LowRank
from services.inference.engine.cache import PagedCache
from services.inference.engine.native.library import INT8, Layer, LayerDelta, Model
from services.inference.engine.native.packing import (
    PANEL,
    Arena,
    aligned,
    interleave,
    linear_bytes,
    pack_delta,
    pack_linear,
)

LARGEST_HEAD = 256


@dataclass(frozen=True)
class Packed:
    """The model's struct and what it points into."""

    model: Model
    arena: Arena
    layers: Any


def pack_model(model: Any, cache: PagedCache, window: int, kind: int) -> Packed:
    """Copy the weights into one arena, dropping the originals layer by layer, so that memory holds them once."""
    config = model.config
    arena = Arena(_bytes_needed(model, cache.capacity, kind == INT8))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = embedding.weight.data_ptr() == head.weight.data_ptr()
    cosine, sine = _rotation(model, cache.capacity)
    layers = (Layer * config.num_hidden_layers)()
    packed = Model(
        layers=layers,
        norm=arena.keep(model.model.norm.weight.data.float()),
        cosine=arena.keep(cosine),
        sine=arena.keep(sine),
        embedding=None if tied else arena.keep(embedding.weight.data.to(torch.bfloat16)),
        kind=kind,
        count=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        key_heads=cache.kv_heads,
        size=cache.head_size,
        mlp=config.intermediate_size,
        vocabulary=config.vocab_size,
        window=window,
        epsilon=config.rms_norm_eps,
        scale=cache.head_size**-0.5,
    )
    for index, layer in enumerate(model.model.layers):
        _pack_layer(arena, layer, layers[index], kind)
        layers[index].keys, layers[index].values = cache.keys[index].data_ptr(), cache.values[index].data_ptr()
    packed.head = pack_linear(arena, head.weight.data, None, kind)
    embedding.weight = head.weight = None
    return Packed(packed, arena, layers)


def pack_adapter(adapter: Adapter, model: Model) -> tuple[Any, list[torch.Tensor]]:
    """An adapter's layers for the native step, and the tensors that they point into."""
    layers = (LayerDelta * model.count)()
    kept: list[torch.Tensor] = []
    query, key = model.heads * model.size, model.key_heads * model.size
    products = {
        "qkv": (("q_proj", "k_proj", "v_proj"), (query, key, key)),
        "out": (("o_proj",), (model.hidden,)),
        "gate_up": (("gate_proj", "up_proj"), (model.mlp, model.mlp)),
        "down": (("down_proj",), (model.hidden,)),
    }
    for index in range(model.count):
        parts: Mapping[str, LowRank] = adapter.layers.get(index, {})
        for product, (names, outputs) in products.items():
            delta, tensors = pack_delta([parts.get(name) for name in names], outputs, product == "gate_up")
            setattr(layers[index], product, delta)
            kept += tensors
    return layers, kept


def _pack_layer(arena: Arena, layer: Any, packed: Layer, kind: int) -> None:
    attention, mlp = layer.self_attn, layer.mlp
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [part.bias for part in parts]
    packed.attention_norm = arena.keep(layer.input_layernorm.weight.data.float())
    packed.mlp_norm = arena.keep(layer.post_attention_layernorm.weight.data.float())
    if hasattr(attention, "q_norm"):
        packed.query_norm = arena.keep(attention.q_norm.weight.data.float())
        packed.key_norm = arena.keep(attention.k_norm.weight.data.float())
    bias = None if biases[0] is None else torch.cat([one.data for one in biases])
    packed.qkv = pack_linear(arena, torch.cat([part.weight.data for part in parts]), bias, kind)
    out_bias = None if attention.o_proj.bias is None else attention.o_proj.bias.data
    packed.out = pack_linear(arena, attention.o_proj.weight.data, out_bias, kind)
    gate_up = interleave(mlp.gate_proj.weight.data, mlp.up_proj.weight.data)
    packed.gate_up = pack_linear(arena, gate_up, None, kind)
    packed.down = pack_linear(arena, mlp.down_proj.weight.data, None, kind)
    for part in (*parts, attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj):
        part.weight = None


def _bytes_needed(model: Any, capacity: int, int8: bool) -> int:
    """At least what `pack_model` keeps; what is left over is never touched, so it costs nothing."""
    total = 2 * aligned(capacity * 4 * LARGEST_HEAD // 2)
    head = model.get_output_embeddings().weight
    for name, parameter in (*model.named_parameters(), ("head", head)):
        if "embed_tokens" in name:
            total += aligned(parameter.numel() * 2)
        elif parameter.dim() == 2:
            outputs, inputs = parameter.shape
            total += linear_bytes(outputs, inputs, int8)
        else:
            total += aligned(parameter.numel() * 4) + aligned(4 * PANEL)
    return total


def _rotation(model: Any, capacity: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables of shape (capacity, head size / 2), float32."""
    rotary = model.model.rotary_emb
    positions = torch.arange(capacity, dtype=torch.float32)
    angles = torch.outer(positions, rotary.inv_freq.float())
    return angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling
