"""The forward pass of the BERT and RoBERTa families on texts laid end to end, without padding.

Only attention sees a padded batch. Products run in float32 or bfloat16; the residual stream and its
normalisation stay in float32, which costs little at these sizes and keeps bfloat16's scores close.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")


class Linear:
    """`x W^T + b`, then gelu where asked for; in bfloat16 with oneDNN's blocked weights, gelu fused."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, gelu: bool = False) -> None:
        self.copied_bytes = 0 if weight.dtype == dtype else weight.numel() * dtype.itemsize
        self._weight, self._bias = weight.detach().to(dtype), bias.detach().to(dtype)
        self._gelu = gelu
        self._blocked = self._weight.to_mkldnn() if dtype == torch.bfloat16 and torch.backends.mkldnn.enabled else None
        if self._blocked is not None:
            self._weight = self._weight[:0]

    @classmethod
    def joined(cls, parts: Sequence[torch.nn.Linear], dtype: torch.dtype) -> "Linear":
        made = cls(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]), dtype)
        made.copied_bytes = sum(part.weight.numel() for part in parts) * dtype.itemsize
        return made

    def __call__(self, x: Tensor) -> Tensor:
        if self._blocked is not None:
            activation = "gelu" if self._gelu else "none"
            made: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._blocked, self._bias, activation, [], "none")
            return made
        made = functional.linear(x, self._weight, self._bias)
        return functional.gelu(made) if self._gelu else made


@dataclass(frozen=True)
class _Layer:
    qkv: Linear
    attention_out: Linear
    attention_norm: torch.nn.LayerNorm
    up: Linear
    down: Linear
    norm: torch.nn.LayerNorm


class PackedBert:
    """Last hidden states of many texts at once. Weights in float32 are shared with the model."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        body: Any = model.base_model
        config: Any = body.config
        self._embeddings: Any = body.embeddings
        self._heads = int(config.num_attention_heads)
        self._dtype = dtype
        self._shift = 0 if config.model_type == "bert" else int(config.pad_token_id) + 1
        blocks: Any = body.encoder.layer
        self._layers = [self._layer(block) for block in blocks]
        last = blocks[-1].attention.self
        self._last_query = Linear.joined([last.query], dtype)
        self._last_kv = Linear.joined([last.key, last.value], dtype)
        products = [part for layer in self._layers for part in (layer.qkv, layer.attention_out, layer.up, layer.down)]
        self.copied_bytes = sum(one.copied_bytes for one in (*products, self._last_query, self._last_kv))

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether this is the model's arithmetic: a plain encoder of these families, on a CPU, with gelu."""
        config: Any = model.config
        return (
            config.model_type in FAMILIES
            and getattr(config, "hidden_act", "") == "gelu"
            and getattr(config, "position_embedding_type", "absolute") in ("absolute", None)
            and not getattr(config, "is_decoder", False)
            and not getattr(config, "add_cross_attention", False)
            and model.device.type == "cpu"
        )

    def __call__(
        self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], first_only: bool = False
    ) -> Tensor:
        """Hidden states in float32 of texts given as token ids and token types (empty: all 0): (all tokens, width),
        or with `first_only` those of each text's first token, (texts, width), where the last layer computes less.
        """
        layout = _Layout.of([len(text) for text in ids])
        hidden = self._embed(ids, types, layout)
        for layer in self._layers[:-1]:
            hidden = self._block(layer, hidden, layout)
        if first_only:
            return self._last_block(hidden, layout)
        return self._block(self._layers[-1], hidden, layout)

    def _embed(self, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], layout: "_Layout") -> Tensor:
        tables = self._embeddings
        flat = torch.tensor([token for text in ids for token in text])
        kinds = torch.tensor([kind for text in types for kind in text], dtype=torch.long)
        kinds = kinds if len(kinds) else torch.zeros_like(flat)
        words = functional.embedding(flat, tables.word_embeddings.weight)
        places = functional.embedding(layout.positions + self._shift, tables.position_embeddings.weight)
        made = words + functional.embedding(kinds, tables.token_type_embeddings.weight) + places
        normed: Tensor = tables.LayerNorm(made)
        return normed

    def _block(self, layer: _Layer, hidden: Tensor, layout: "_Layout") -> Tensor:
        qkv = self._padded(layer.qkv(hidden.to(self._dtype)), layout)
        query, key, value = self._by_head(qkv, 3)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask(self._dtype))
        flat = mixed.transpose(1, 2).flatten(0, 1).flatten(1)
        flat = flat if layout.places is None else flat.index_select(0, layout.places)
        return self._after(layer, flat, hidden)

    def _last_block(self, hidden: Tensor, layout: "_Layout") -> Tensor:
        """Only first tokens are asked for: keys and values of all tokens, everything else of the first ones."""
        layer, narrow = self._layers[-1], hidden.to(self._dtype)
        first = hidden.index_select(0, layout.starts)
        key, value = self._by_head(self._padded(self._last_kv(narrow), layout), 2)
        (query,) = self._by_head(self._last_query(first.to(self._dtype))[:, None], 1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask(self._dtype))
        return self._after(layer, mixed.flatten(1), first)

    def _after(self, layer: _Layer, mixed: Tensor, hidden: Tensor) -> Tensor:
        hidden = layer.attention_norm(layer.attention_out(mixed) + hidden)
        wide = layer.up(hidden.to(self._dtype))
        normed: Tensor = layer.norm(layer.down(wide) + hidden)
        return normed

    def _padded(self, flat: Tensor, layout: "_Layout") -> Tensor:
        """(tokens, n) to (texts, longest, n), zeros where there is no token."""
        rows, longest = layout.shape
        if layout.places is not None:
            flat = flat.new_zeros(rows * longest, flat.shape[1]).index_copy_(0, layout.places, flat)
        return flat.view(rows, longest, -1)

    def _by_head(self, joined: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(texts, positions, parts x width) to so many of (texts, heads, positions, head width)."""
        rows, longest, width = joined.shape
        split = joined.view(rows, longest, parts, self._heads, width // parts // self._heads)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def _layer(self, block: Any) -> _Layer:
        own, out = block.attention.self, block.attention.output
        return _Layer(
            qkv=Linear.joined([own.query, own.key, own.value], self._dtype),
            attention_out=Linear(out.dense.weight, out.dense.bias, self._dtype),
            attention_norm=out.LayerNorm,
            up=Linear(block.intermediate.dense.weight, block.intermediate.dense.bias, self._dtype, gelu=True),
            down=Linear(block.output.dense.weight, block.output.dense.bias, self._dtype),
            norm=block.output.LayerNorm,
        )


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of texts of different length stand in a padded batch; `places` is None without padding."""

    shape: tuple[int, int]
    positions: Tensor
    starts: Tensor
    places: Tensor | None
    seen: Tensor | None

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "_Layout":
        sizes = torch.tensor(lengths)
        longest = max(lengths)
        grid = torch.arange(longest)
        seen = grid < sizes[:, None]
        positions = grid.expand(len(lengths), -1)[seen]
        starts = sizes.cumsum(0) - sizes
        shape = (len(lengths), longest)
        if min(lengths) == longest:
            return cls(shape, positions, starts, None, None)
        return cls(shape, positions, starts, seen.flatten().nonzero().flatten(), seen)

    def mask(self, dtype: torch.dtype) -> Tensor | None:
        """Added to attention scores: (texts, 1, 1, longest)."""
        if self.seen is None:
            return None
        return torch.zeros(self.seen.shape, dtype=dtype).masked_fill_(~self.seen, float("-inf"))[:, None, None, :]
