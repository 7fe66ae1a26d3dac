"""One step of the engine: tokens of many requests packed into one row, and their attention.

A request contributes one token (it is decoding) or a chunk of its prompt. All tokens go through the
model together, so the weights are read once; only attention looks at requests one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from services.inference.engine.cache import SlotCache

WIDTH_MULTIPLE = 64  # few distinct shapes keep the kernels' caches warm


@dataclass(frozen=True)
class Segment:
    """Tokens of one request in this step. `wanted` asks for the logits after the last of them."""

    slot: int
    start: int
    tokens: tuple[int, ...]
    wanted: bool

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class Step:
    """The packed input and the attention over it.

    `ids` and `positions` have shape (tokens); `wanted` indexes the tokens whose logits are asked for, in
    the order of the segments given.
    """

    def __init__(self, segments: Sequence[Segment], cache: SlotCache, query_heads: int) -> None:
        assert segments
        assert all(segment.end <= cache.capacity for segment in segments)
        self.cache = cache
        self.groups = query_heads // cache.kv_heads
        device = cache.keys[0].device
        ids: list[int] = []
        positions: list[int] = []
        wanted: list[int] = []
        self._singles: list[tuple[int, int]] = []
        self._chunks: list[tuple[int, Segment, torch.Tensor]] = []
        for segment in segments:
            if len(segment.tokens) == 1:
                self._singles.append((len(ids), segment.slot))
            else:
                self._chunks.append((len(ids), segment, self._causal_bias(segment)))
            ids.extend(segment.tokens)
            positions.extend(range(segment.start, segment.end))
            if segment.wanted:
                wanted.append(len(ids) - 1)
        self.ids = torch.tensor(ids, device=device)
        self.positions = torch.tensor(positions, device=device)
        self.wanted = torch.tensor(wanted, dtype=torch.long, device=device)
        if self._singles:
            self._prepare_singles()

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        softcap: float | None = None,
    ) -> torch.Tensor:
        """Write keys and values (tokens, kv heads, size) into the cache; attend query (tokens, heads, size)."""
        if not self._chunks and self._dense:
            return self._attend_singles(layer, query, key, value, scale, softcap)
        out = torch.empty_like(query)
        if self._singles:
            rows = self._rows
            out[rows] = self._attend_singles(layer, query[rows], key[rows], value[rows], scale, softcap)
        for offset, segment, bias in self._chunks:
            part = slice(offset, offset + len(segment.tokens))
            out[part] = self._attend_chunk(layer, segment, bias, (query[part], key[part], value[part]), scale, softcap)
        return out

    def _prepare_singles(self) -> None:
        device = self.ids.device
        rows, slots = zip(*self._singles, strict=True)
        self._rows = torch.tensor(rows, device=device)
        self._slots = torch.tensor(slots, device=device)
        self._dense = slots == tuple(range(len(slots))) and rows == slots
        self._at = self.positions[self._rows]
        self._top = max(slots) + 1
        longest = int(self._at.max()) + 1
        self._width = min(-(-longest // WIDTH_MULTIPLE) * WIDTH_MULTIPLE, self.cache.capacity)
        ends = torch.zeros(self._top, dtype=torch.long, device=device)
        ends[self._slots] = self._at
        visible = torch.arange(self._width, device=device) <= ends[:, None]
        bias = torch.zeros(visible.shape, dtype=self.cache.keys[0].dtype, device=device)
        bias.masked_fill_(~visible, float("-inf"))
        heads = (self._top, self.cache.kv_heads, self.groups, self._width)
        self._bias = bias[:, None, None].expand(heads).reshape(-1, self.groups, self._width)

    def _attend_singles(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        softcap: float | None,
    ) -> torch.Tensor:
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self._slots, :, self._at] = key
        values[self._slots, :, self._at] = value
        heads, size = query.shape[1:]
        if self._dense:
            spread = query
        else:
            spread = query.new_zeros(self._top, heads, size)
            spread[self._slots] = query
        out = grouped_attention(
            spread.reshape(-1, self.groups, size),
            keys[: self._top].view(-1, self.cache.capacity, size)[:, : self._width],
            values[: self._top].view(-1, self.cache.capacity, size)[:, : self._width],
            self._bias,
            scale,
            softcap,
        ).view(self._top, heads, size)
        return out if self._dense else out[self._slots]

    def _attend_chunk(
        self,
        layer: int,
        segment: Segment,
        bias: torch.Tensor,
        packed: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        scale: float,
        softcap: float | None,
    ) -> torch.Tensor:
        query, key, value = packed
        keys = self.cache.keys[layer][segment.slot]
        values = self.cache.values[layer][segment.slot]
        keys[:, segment.start : segment.end] = key.transpose(0, 1)
        values[:, segment.start : segment.end] = value.transpose(0, 1)
        count, heads, size = query.shape
        grouped = query.view(count, -1, self.groups, size).permute(1, 2, 0, 3)
        out = grouped_attention(
            grouped.reshape(-1, self.groups * count, size),
            keys[:, : segment.end],
            values[:, : segment.end],
            bias,
            scale,
            softcap,
        )
        return out.view(-1, self.groups, count, size).permute(2, 0, 1, 3).reshape(count, heads, size)

    def _causal_bias(self, segment: Segment) -> torch.Tensor:
        keys = self.cache.keys[0]
        queries = torch.arange(segment.start, segment.end, device=keys.device)
        hidden = torch.arange(segment.end, device=keys.device) > queries[:, None]
        bias = torch.zeros(hidden.shape, dtype=keys.dtype, device=keys.device)
        bias.masked_fill_(hidden, float("-inf"))
        return bias.repeat(self.groups, 1).expand(self.cache.kv_heads, -1, -1)


def grouped_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
    scale: float,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of query (batch, rows, size) over keys (batch, positions, size); bias is added to the scores.

    Batched products over (request x kv head) are several times faster on a CPU than
    `scaled_dot_product_attention` with grouped heads.
    """
    if softcap is None:
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=scale)
    else:
        scores = torch.tanh(torch.bmm(query, keys.transpose(1, 2)) * (scale / softcap)) * softcap + bias
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
    return torch.bmm(weights, values)
