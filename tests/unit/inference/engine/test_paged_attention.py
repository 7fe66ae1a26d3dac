"""Attention over pages equals attention over a plain stretch of keys, whatever the order of the pages."""

import random

import pytest
import torch

from services.inference.engine.cache import PAGE, PagedCache, pages_for
from services.inference.engine.step import Segment, Step

KV_HEADS, HEADS, SIZE = 2, 6, 16
SPANS = [(0, 1), (40, 1), (95, 1), (0, 33), (31, 2), (64, 5), (10, 5), (0, 100)]  # first position, tokens


def plain(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    start: int,
    softcap: float | None,
    window: int | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """One request: query (tokens, heads, size) at positions from `start`, keys (positions, kv heads, size)."""
    keys, values = (one.repeat_interleave(HEADS // KV_HEADS, dim=1) for one in (keys, values))
    scores = torch.einsum("thd,phd->htp", query, keys) * 0.3
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    at = torch.arange(start, start + len(query))[:, None]
    positions = torch.arange(len(keys))
    hidden = positions > at
    if window is not None:
        hidden |= positions <= at - window
    scores = scores.masked_fill(hidden, float("-inf"))
    if sinks is not None:
        scores = torch.cat((scores, sinks[:, None, None].expand(-1, len(query), 1)), dim=-1)
    weights = scores.softmax(dim=-1)[..., : len(keys)]
    return torch.einsum("htp,phd->thd", weights, values)


@pytest.mark.parametrize(
    ("softcap", "window", "sinks"),
    [(None, None, None), (5.0, None, None), (None, 20, None), (None, 1, None), (None, None, torch.randn(HEADS))],
)
def test_each_request_sees_its_own_past_and_nothing_else(
    softcap: float | None, window: int | None, sinks: torch.Tensor | None
) -> None:
    torch.manual_seed(1)
    cache = PagedCache(2, 40, KV_HEADS, SIZE, torch.float32)
    for tensor in (*cache.keys, *cache.values):
        tensor.normal_()
    free = random.Random(2).sample(range(40), 40)
    segments, pasts = [], []
    for start, count in SPANS:
        pages = [free.pop() for _ in range(pages_for(start + count))]
        segments.append(Segment(pages, start, (0,) * count, 1))
        pasts.append([torch.cat(list(one[1][pages].transpose(1, 2)))[:start] for one in (cache.keys, cache.values)])
    step = Step(segments, cache)
    tokens = sum(count for _, count in SPANS)
    query = torch.randn(tokens, HEADS, SIZE)
    key, value = torch.randn(2, tokens, KV_HEADS, SIZE)
    untouched = cache.keys[0].clone()
    found = step.attend(1, query, key, value, 0.3, softcap, window, sinks)
    row = 0
    for (start, count), (old_keys, old_values) in zip(SPANS, pasts, strict=True):
        part = slice(row, row + count)
        keys, values = torch.cat((old_keys, key[part])), torch.cat((old_values, value[part]))
        torch.testing.assert_close(found[part], plain(query[part], keys, values, start, softcap, window, sinks))
        row += count
    assert torch.equal(cache.keys[0], untouched), "another layer was written"


def test_a_neighbour_that_is_not_finite_harms_nobody() -> None:
    cache = PagedCache(1, 8, KV_HEADS, SIZE, torch.float32)
    step = Step([Segment([0, 1, 2], 70, (0,), 1), Segment([3], 4, (0,), 1)], cache)
    query, key = torch.ones(2, HEADS, SIZE), torch.ones(2, KV_HEADS, SIZE)
    key[0] = float("nan")
    found = step.attend(0, query, key, key, 1.0)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


def test_a_step_packs_tokens_and_says_whose_logits_are_wanted() -> None:
    class Named:
        def __init__(self, digest: str) -> None:
            self.digest = digest

    one, other = Named("one"), Named("other")
    cache = PagedCache(1, 8, 1, SIZE, torch.float32)
    segments = [
        Segment([0], 3, (5,), 1, one),
        Segment([1, 2], 30, (6, 7, 8), 0),
        Segment([3], 0, (9, 10, 11), 2, other),
        Segment([4], 7, (12,), 1, one),
    ]
    step = Step(segments, cache)
    assert step.ids.tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    assert step.positions.tolist() == [3, 30, 31, 32, 0, 1, 2, 7]
    assert step.wanted.tolist() == [0, 5, 6, 7]
    assert [(adapter.digest, rows.tolist()) for adapter, rows in step.adapters] == [
        ("one", [0, 7]),
        ("other", [4, 5, 6]),
    ]


def test_a_step_beyond_its_pages_is_a_mistake_of_ours() -> None:
    cache = PagedCache(1, 8, 1, SIZE, torch.float32)
    with pytest.raises(AssertionError):
        Step([Segment([0], PAGE, (1,), 1)], cache)
