"""Plain causal attention is the fused kernel's, forwards and backwards."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shared.modeling.kinds.plain_causal import causal

FINE = {torch.float32: 1e-5, torch.bfloat16: 0.04}
"""Relative to the largest value; bfloat16 has 8 bits."""


def _parts(heads: int, shared: int, tokens: int, kind: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens)
    made = [torch.randn(1, count, tokens, 8, generator=generator) for count in (heads, shared, shared, heads)]
    return tuple(part.to(kind).requires_grad_() for part in made)


@pytest.mark.parametrize("kind", FINE)
@pytest.mark.parametrize(("heads", "shared", "tokens"), [(4, 4, 1), (4, 4, 7), (6, 2, 19), (9, 3, 64)])
def test_it_is_the_fused_kernels_with_its_gradients(kind: torch.dtype, heads: int, shared: int, tokens: int) -> None:
    *given, weight = _parts(heads, shared, tokens, kind)
    exact = [part.detach().double().requires_grad_() for part in given]
    expected = functional.scaled_dot_product_attention(*exact, is_causal=True, scale=0.3, enable_gqa=heads != shared)
    (expected * weight.detach()).sum().backward()
    found = causal(given[0], given[1], given[2], [tokens], 0.3).transpose(1, 2)
    (found * weight.detach()).sum().backward()
    pairs = [(found, expected), *((one.grad, other.grad) for one, other in zip(given, exact, strict=True))]
    for one, other in pairs:
        assert one is not None
        assert other is not None
        off, largest = (one.detach().double() - other.detach()).abs().max(), other.detach().abs().max()
        assert float(off) <= FINE[kind] * float(largest) + 1e-6


def test_strided_parts_are_taken_as_they_come() -> None:
    """As a layer cuts them out of a longer line."""
    query, key, value, _ = _parts(4, 2, 10, torch.float32)
    line = [part.transpose(1, 2).contiguous().transpose(1, 2)[:, :, 2:9] for part in (query, key, value)]
    expected = functional.scaled_dot_product_attention(*line, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(causal(line[0], line[1], line[2], [7], 8**-0.5).transpose(1, 2), expected)


def test_texts_of_a_line_do_not_see_each_other() -> None:
    *given, weight = _parts(6, 2, 60, torch.float32)
    lengths = [3, 16, 1, 40]
    found = causal(given[0], given[1], given[2], lengths, 0.3)
    (found * weight.detach().transpose(1, 2)).sum().backward()
    ends = [3, 19, 20, 60]
    for length, end in zip(lengths, ends, strict=True):
        text = slice(end - length, end)
        alone = [part.detach()[:, :, text].clone().requires_grad_() for part in given]
        expected = functional.scaled_dot_product_attention(*alone, is_causal=True, scale=0.3, enable_gqa=True)
        (expected * weight.detach()[:, :, text]).sum().backward()
        torch.testing.assert_close(found[:, text].transpose(1, 2), expected)
        for whole, part in zip(given, alone, strict=True):
            assert whole.grad is not None
            torch.testing.assert_close(whole.grad[:, :, text], part.grad)
