"""Attention of packed tokens over a paged cache, in torch.

Pages are gathered into one stretch a request and layer. Indices and masks are made once a step.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from services.inference.engine.cache import PAGE, PagedCache, pages_for

Span = tuple[Sequence[int], int, int]  # page table, first position, tokens
FEW = 8  # requests of so few tokens each are attended together


class PagedAttention:
    """Attention of one step. Requests with one token are one batched product, longer ones a product each."""

    def __init__(self, spans: Sequence[Span], cache: PagedCache) -> None:
        self._cache = cache
        self._device = cache.keys[0].device
        self._tokens = sum(count for _, _, count in spans)
        pages = [table[at // PAGE] for table, start, count in spans for at in range(start, start + count)]
        offsets = [at % PAGE for _, start, count in spans for at in range(start, start + count)]
        self._pages, self._offsets = self._tensor([pages, offsets])
        self._groups = [self._group(rows, members) for rows, members in _groups(spans)]

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        self._cache.keys[layer][self._pages, :, self._offsets] = key
        self._cache.values[layer][self._pages, :, self._offsets] = value

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        scale: float,
        softcap: float | None,
        window: int | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Shape (tokens, heads, size) in and out; see `Step.attend`."""
        one = partial(self._attend, layer, scale, softcap, window, sinks)
        if len(self._groups) == 1:
            return one(self._groups[0], query)
        out = torch.empty_like(query)
        for group in self._groups:
            out[group.rows] = one(group, query[group.rows])
        return out

    def _attend(
        self,
        layer: int,
        scale: float,
        softcap: float | None,
        window: int | None,
        sinks: torch.Tensor | None,
        group: "_Group",
        query: torch.Tensor,
    ) -> torch.Tensor:
        kv_heads, size = self._cache.kv_heads, self._cache.head_size
        requests, count = group.positions.shape
        shared = query.shape[1] // kv_heads
        grouped = query.view(requests, count, kv_heads, shared, size).permute(0, 2, 3, 1, 4)
        out = grouped_attention(
            grouped.reshape(requests * kv_heads, shared * count, size),
            self._gather(self._cache.keys[layer], group),
            self._gather(self._cache.values[layer], group),
            group.bias(kv_heads, shared, window, query.dtype),
            scale,
            softcap,
            None if sinks is None else _spread(sinks, requests, kv_heads, count),
        )
        parts = out.view(requests, kv_heads, shared, count, size).permute(0, 3, 1, 2, 4)
        return parts.reshape(requests * count, kv_heads * shared, size)

    def _gather(self, tensor: torch.Tensor, group: "_Group") -> torch.Tensor:
        """Shape (requests x kv heads, positions, size), copied once."""
        found = tensor.view(-1, PAGE, tensor.shape[-1]).index_select(0, group.index)
        return found.view(-1, group.width, tensor.shape[-1])

    def _group(self, rows: Sequence[int], spans: Sequence[Span]) -> "_Group":
        kv_heads = self._cache.kv_heads
        longest = max(pages_for(start + count) for _, start, count in spans)
        tables = [_padded(table, pages_for(start + count), longest) for table, start, count in spans]
        heads = torch.arange(kv_heads, device=self._device)
        index = self._tensor(tables)[:, None] * kv_heads + heads[:, None]
        positions = [list(range(start, start + count)) for _, start, count in spans]
        contiguous = slice(rows[0], rows[-1] + 1)
        where = contiguous if rows[-1] + 1 - rows[0] == len(rows) else self._tensor(list(rows))
        return _Group(where, index.flatten(), longest * PAGE, self._tensor(positions))

    def _tensor(self, values: object) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)


class _Group:
    """Requests of equally many tokens: `rows` of them in the step, pages as an index, `positions` (requests, tokens)."""

    def __init__(self, rows: slice | torch.Tensor, index: torch.Tensor, width: int, positions: torch.Tensor) -> None:
        self.rows, self.index, self.width, self.positions = rows, index, width, positions
        self._biases: dict[int | None, torch.Tensor] = {}

    def bias(self, kv_heads: int, shared: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the scores (requests x kv heads, shared x tokens, width): 0 where visible."""
        if window not in self._biases:
            at = torch.arange(self.width, device=self.positions.device)
            visible = at <= self.positions[..., None]
            if window is not None:
                visible &= at > self.positions[..., None] - window
            made = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))
            requests, count, width = made.shape
            spread = made[:, None, None].expand(requests, kv_heads, shared, count, width)
            self._biases[window] = spread.reshape(requests * kv_heads, shared * count, width)
        return self._biases[window]


def grouped_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    bias: torch.Tensor,
    scale: float,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of query (batch, rows, size) over keys (batch, positions, size); bias is added to the scores.

    Batched products over (request x kv head) are several times faster on a CPU than
    `scaled_dot_product_attention` with grouped heads.
    """
    if softcap is None:
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=scale)
    else:
        scores = torch.tanh(torch.bmm(query, keys.transpose(1, 2)) * (scale / softcap)) * softcap + bias
    if sinks is not None:
        scores = torch.cat((scores, sinks.to(scores.dtype)), dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(values.dtype)
    return torch.bmm(weights if sinks is None else weights[..., :-1], values)


def _groups(spans: Sequence[Span]) -> Iterator[tuple[list[int], list[Span]]]:
    """Rows and spans that are attended in one product: those of equally few tokens together."""
    together: dict[int, tuple[list[int], list[Span]]] = {}
    end = 0
    for span in spans:
        start, end = end, end + span[2]
        key = span[2] if span[2] <= FEW else -end
        rows, members = together.setdefault(key, ([], []))
        rows.extend(range(start, end))
        members.append(span)
    yield from together.values()


def _padded(table: Sequence[int], used: int, longest: int) -> list[int]:
    """A request's own first page fills up its table: another's may hold values that are not finite."""
    return [*table[:used], *[table[0]] * (longest - used)]


def _spread(sinks: torch.Tensor, requests: int, kv_heads: int, count: int) -> torch.Tensor:
    """Sinks (heads) as a column of scores (requests x kv heads, heads of a kv head x tokens, 1)."""
    column = sinks.view(1, kv_heads, -1, 1).expand(requests, -1, -1, count)
    return column.reshape(requests * kv_heads, -1, 1)
