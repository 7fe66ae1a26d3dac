"""A transformers model of the BERT, RoBERTa or DistilBERT family, handed over to the native encoder.

Products in bfloat16 get weights of their own; all else is the model's, in float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from services.inference.engine.native.encoder_library import NOTHING, RELU, TANH, Encoder, Layer, Norm, Plain
from services.inference.engine.native.library import BFLOAT16, Linear
from services.inference.engine.native.packing import Arena, linear_bytes, pack_linear


@dataclass(frozen=True)
class Block:
    """One layer's modules, whatever the family calls them."""

    mixing: Sequence[Any]  # query, key and value
    out: Any
    attention_norm: Any
    up: Any
    down: Any
    norm: Any


@dataclass(frozen=True)
class Head:
    """What judges a text's first token or every token: `pooler`, its activation, `labels`."""

    pooler: Any
    activation: int
    labels: Any


@dataclass(frozen=True)
class Packed:
    """The model's struct and what it points into."""

    encoder: Encoder
    extra_bytes: int
    kept: Sequence[Any]


def pack_encoder(model: Any, exactly: bool) -> Packed:
    """For products in bfloat16, or `exactly` in float32. The model must stay as it is as long as the struct is used:
    they share what is in float32."""
    body, blocks, head = model.base_model, blocks_of(model), head_of(model)
    kept: list[Any] = []
    arena = None if exactly else _arena(blocks)
    layers = (Layer * len(blocks))()
    for layer, block in zip(layers, blocks, strict=True):
        if arena is None:
            layer.query, layer.key, layer.value = (_plain(part, kept) for part in block.mixing)
            layer.plain_out, layer.plain_up, layer.plain_down = (
                _plain(part, kept) for part in (block.out, block.up, block.down)
            )
        else:
            layer.qkv, layer.out, layer.up, layer.down = (_pack(arena, parts) for parts in _products(block))
        layer.attention_norm, layer.norm = _norm(block.attention_norm, kept), _norm(block.norm, kept)
    tables = body.embeddings
    types = getattr(tables, "token_type_embeddings", None)
    encoder = Encoder(
        layers=layers,
        words=_address(tables.word_embeddings.weight, kept),
        positions=_address(tables.position_embeddings.weight, kept),
        types=None if types is None else _address(types.weight, kept),
        norm=_norm(tables.LayerNorm, kept),
        pooler=_plain(head.pooler, kept),
        labels=_plain(head.labels, kept),
        activation=head.activation,
        count=len(blocks),
        width=tables.word_embeddings.embedding_dim,
        heads=model.config.num_attention_heads,
        mlp=blocks[0].up.out_features,
        shift=shift_of(model.config),
        epsilon=tables.LayerNorm.eps,
    )
    return Packed(encoder, 0 if arena is None else arena.used, (layers, arena, *kept))


def blocks_of(model: Any) -> list[Block]:
    body = model.base_model
    if model.config.model_type == "distilbert":
        return [_distilled(layer) for layer in body.transformer.layer]
    return [_block(layer) for layer in body.encoder.layer]


def head_of(model: Any) -> Head:
    """Modules that are None are left out."""
    pooler, labels = getattr(model.base_model, "pooler", None), getattr(model, "classifier", None)
    if hasattr(model, "qa_outputs"):
        return Head(None, NOTHING, model.qa_outputs)
    if not type(model).__name__.endswith("SequenceClassification"):
        return Head(None, NOTHING, labels)
    if model.config.model_type == "distilbert":
        return Head(model.pre_classifier, RELU, labels)
    if pooler is None:
        assert labels is not None
        return Head(labels.dense, TANH, labels.out_proj)
    return Head(pooler.dense, TANH, labels)


def shift_of(config: Any) -> int:
    """The first position's row of the table; the RoBERTa families count from their padding token on."""
    return 0 if config.model_type in {"bert", "distilbert"} else int(config.pad_token_id) + 1


def _block(layer: Any) -> Block:
    own, out = layer.attention.self, layer.attention.output
    return Block(
        (own.query, own.key, own.value),
        out.dense,
        out.LayerNorm,
        layer.intermediate.dense,
        layer.output.dense,
        layer.output.LayerNorm,
    )


def _distilled(layer: Any) -> Block:
    own, inner = layer.attention, layer.ffn
    return Block(
        (own.q_lin, own.k_lin, own.v_lin),
        own.out_lin,
        layer.sa_layer_norm,
        inner.lin1,
        inner.lin2,
        layer.output_layer_norm,
    )


def _products(block: Block) -> tuple[Sequence[Any], ...]:
    return (block.mixing, (block.out,), (block.up,), (block.down,))


def _arena(blocks: Sequence[Block]) -> Arena:
    return Arena(sum(linear_bytes(*_shape(parts), int8=False) for block in blocks for parts in _products(block)))


def _shape(parts: Sequence[Any]) -> tuple[int, int]:
    return sum(part.out_features for part in parts), parts[0].in_features


def _pack(arena: Arena, parts: Sequence[Any]) -> Linear:
    weight = torch.cat([part.weight.detach() for part in parts])
    return pack_linear(arena, weight.to(torch.bfloat16), torch.cat([part.bias.detach() for part in parts]), BFLOAT16)


def _norm(module: Any, kept: list[Any]) -> Norm:
    return Norm(weight=_address(module.weight, kept), bias=_address(module.bias, kept))


def _plain(module: Module | None, kept: list[Any]) -> Plain:
    if module is None:
        return Plain()
    linear: Any = module
    return Plain(_address(linear.weight, kept), _address(linear.bias, kept), linear.in_features, linear.out_features)


def _address(tensor: Tensor, kept: list[Any]) -> int:
    whole = tensor.detach().contiguous()
    assert whole.dtype == torch.float32
    kept.append(whole)
    return whole.data_ptr()
