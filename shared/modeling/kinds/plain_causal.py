"""Causal attention inside each short text of a line by plain products, forwards and backwards, as a CPU computes it
fastest.

The fused kernel is memory's friend, but its backward pass in bfloat16 takes most of its time in conversions: 9 heads of 64,
100 tokens, two threads: 2.1 ms, and 0.44 ms so (forwards 0.42 and 0.33; beyond 512 tokens it is the other way round).

The library below compiles a kernel for every new size of a product, 2.4 ms each and six for every text, and keeps the last
thousand. So texts are taken as longer as they are, up to the next multiple of `STEP`: what is added comes after all
tokens, where causal attention does not look.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from shared.modeling.plain_attention import chances_of, gradients_of

LONGEST = 512
"""Tokens of a text; the scores are quadratic in it."""
STEP = 16


def causal(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scaling: float) -> Tensor:
    """1 x heads x tokens x size of the query, whose heads share those of key and value in groups: 1 x tokens x heads x
    size. Texts of these lengths lie one after the other."""
    made: Tensor = _Causal.apply(query, key, value, lengths, scaling)  # type: ignore[no-untyped-call]
    return made


class _Causal(torch.autograd.Function):
    """Keeps the probabilities in the type of its input; heads of a group lie one after the other in one matrix."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scaling: float) -> Tensor:
        _, heads, tokens, size = query.shape
        shared = key.shape[1]
        queries = query[0].view(shared, heads // shared, tokens, size)
        made = query.new_empty(tokens, shared, heads // shared, size)
        kept: list[Tensor] = []
        for text in _texts(lengths):
            longer = _longer(text)
            asked = _padded(queries[:, :, text], longer).flatten(1, 2)
            keys, values = _padded(key[0, :, text], longer), _padded(value[0, :, text], longer)
            chances = chances_of(asked, keys, _future(query, heads // shared, longer), scaling)
            found = torch.bmm(chances, values).view(shared, heads // shared, longer, size)
            made[text] = found[:, :, : text.stop - text.start].permute(2, 0, 1, 3)
            kept += asked, keys, values, chances
        ctx.save_for_backward(*kept)
        ctx.lengths, ctx.scaling, ctx.shape = lengths, scaling, query.shape
        return made.view(1, tokens, heads, size)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        kept = ctx.saved_tensors
        _, heads, tokens, size = ctx.shape
        shared = len(kept[1])
        given = gradients[0][0].view(tokens, shared, heads // shared, size).permute(1, 2, 0, 3)
        of_query = given.new_empty(tokens, shared, heads // shared, size)
        of_key, of_value = given.new_empty(tokens, shared, size), given.new_empty(tokens, shared, size)
        for number, text in enumerate(_texts(ctx.lengths)):
            asked, keys, values, chances = kept[4 * number : 4 * number + 4]
            length, longer = text.stop - text.start, _longer(text)
            wanted = _padded(given[:, :, text], longer).flatten(1, 2)
            of_asked, of_keys, of_values = gradients_of(wanted, asked, keys, values, chances, ctx.scaling)
            heads_apart = of_asked.view(shared, heads // shared, longer, size)
            of_query[text] = heads_apart[:, :, :length].permute(2, 0, 1, 3)
            of_key[text] = of_keys[:, :length].transpose(0, 1)
            of_value[text] = of_values[:, :length].transpose(0, 1)
        parts = (of_query.flatten(1, 2), of_key, of_value)
        of_query, of_key, of_value = (part.transpose(0, 1)[None] for part in parts)
        return of_query, of_key, of_value, None, None


def _texts(lengths: Sequence[int]) -> list[slice]:
    ends = list(accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _longer(text: slice) -> int:
    length: int = text.stop - text.start
    return -(-length // STEP) * STEP


def _padded(part: Tensor, tokens: int) -> Tensor:
    """… x `tokens` x size, contiguous, with zeros behind."""
    return functional.pad(part, (0, 0, 0, tokens - part.shape[-2])).contiguous()


def _future(like: Tensor, group: int, tokens: int) -> Tensor:
    """What is added to the scores, (heads of a group x tokens) x tokens."""
    return torch.full((tokens, tokens), float("-inf"), dtype=like.dtype).triu_(1).repeat(group, 1)
