"""One step of the engine: tokens of many requests packed into one row.

A request contributes one token (it is decoding) or a chunk of its prompt. All tokens go through the
model together, so the weights are read once; only attention looks at requests one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from services.inference.engine.attention import PagedAttention
from services.inference.engine.cache import PAGE, PagedCache


class Adapter(Protocol):
    """Low-rank weights beside those of the base; what is in them concerns the forward pass alone."""

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens of one request in this step, the first of them at position `start`.

    `pages` is the request's page table, long enough for all of them; `wanted` asks for the logits after the last
    so many of them.
    """

    pages: Sequence[int]
    start: int
    tokens: Sequence[int]
    wanted: int
    adapter: Adapter | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)


class Step:
    """The packed input and the attention over it.

    `ids` and `positions` have shape (tokens); `wanted` indexes the tokens whose logits are asked for, in the order
    of the segments given. All are int64.
    """

    def __init__(self, segments: Sequence[Segment], cache: PagedCache) -> None:
        assert segments
        assert all(one.end <= cache.capacity and one.end <= len(one.pages) * PAGE for one in segments)
        self.segments = segments
        self.cache = cache

    @cached_property
    def ids(self) -> torch.Tensor:
        return self._tensor([token for segment in self.segments for token in segment.tokens])

    @cached_property
    def positions(self) -> torch.Tensor:
        return self._tensor([at for segment in self.segments for at in range(segment.start, segment.end)])

    @cached_property
    def wanted(self) -> torch.Tensor:
        rows: list[int] = []
        end = 0
        for segment in self.segments:
            end += len(segment.tokens)
            rows.extend(range(end - segment.wanted, end))
        return self._tensor(rows)

    @cached_property
    def adapters(self) -> list[tuple[Adapter, torch.Tensor]]:
        """Each adapter of this step with the rows of its tokens; rows of no adapter are left out."""
        groups: dict[str, tuple[Adapter, list[int]]] = {}
        end = 0
        for segment in self.segments:
            start, end = end, end + len(segment.tokens)
            if segment.adapter is not None:
                groups.setdefault(segment.adapter.digest, (segment.adapter, []))[1].extend(range(start, end))
        return [(adapter, self._tensor(rows)) for adapter, rows in groups.values()]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        softcap: float | None = None,
        window: int | None = None,
        sinks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write keys and values (tokens, kv heads, size) into the cache; attend query (tokens, heads, size).

        A token sees the `window` positions up to its own, or all. `sinks` (heads) are scores of a position that
        has no value.
        """
        self._attention.write(layer, key, value)
        return self._attention.attend(layer, query, scale, softcap, window, sinks)

    @cached_property
    def _attention(self) -> PagedAttention:
        return PagedAttention([(one.pages, one.start, len(one.tokens)) for one in self.segments], self.cache)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.cache.keys[0].device)
