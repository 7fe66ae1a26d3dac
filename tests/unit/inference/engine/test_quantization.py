"""Weights in eight bits: the rounding, the products, and what a model with them still knows."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from services.inference.engine.forward import Forward, TransformersForward
from services.inference.engine.llama import LlamaForward
from services.inference.engine.quantization import PACKED_ROWS, quantize
from services.inference.engine.step import Segment, Step
from tests.unit.inference.engine.tiny import tiny


def weights(out: int = 96, size: int = 64) -> torch.Tensor:
    return torch.randn(out, size, generator=torch.Generator().manual_seed(0))


def test_a_weight_is_off_by_at_most_half_a_step_of_its_channel() -> None:
    wide = weights()
    small = quantize(wide)
    assert small.weight.dtype is torch.int8
    back = small.weight.float() * small.scale[:, None]
    assert ((back - wide).abs() <= 0.5001 * small.scale[:, None]).all()
    assert small.weight.abs().amax(dim=1).eq(127).all(), "the greatest weight of a channel uses the whole range"


def test_channels_of_zeros_and_of_tiny_weights_stay_finite() -> None:
    wide = weights()
    wide[3], wide[4] = 0, wide[4] * 1e-30
    x = torch.ones(2, 64)
    assert quantize(wide)(x)[:, 3].eq(0).all()
    assert quantize(wide.bfloat16())(x.bfloat16()).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 4, PACKED_ROWS, PACKED_ROWS + 1])
def test_few_rows_and_many_give_the_product_with_the_rounded_weights(rows: int, dtype: torch.dtype) -> None:
    bias = torch.randn(96).to(dtype)
    small = quantize(weights().to(dtype), bias)
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    exact = functional.linear(x.float(), small.weight.float() * small.scale.float()[:, None], bias.float())
    error = (small(x).float() - exact).abs().max() / exact.abs().max()
    assert error < (1e-6 if dtype is torch.float32 else 0.02)


def text_loss(forward: Forward, ids: list[int]) -> float:
    step = Step([Segment([0, 1, 2, 3], 0, ids[:-1], len(ids) - 1)], forward.cache)
    with torch.inference_mode():
        return float(functional.cross_entropy(forward(step), torch.tensor(ids[1:])))


def learnt(family: str, ids: list[int]) -> Any:
    """A tiny model that has learnt a text, so that its perplexity says something."""
    model = tiny(family)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = torch.tensor([ids])
    for _ in range(60):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.requires_grad_(False)


@pytest.mark.parametrize(("family", "forward"), [("llama", LlamaForward), ("gemma2", TransformersForward)])
def test_perplexity_is_within_a_percent_of_that_of_wide_weights_in_half_the_bytes(family: str, forward: Any) -> None:
    ids = [(7 * at * at + at) % 200 for at in range(100)]
    model = learnt(family, ids)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    wide = forward(model, 4, 128)
    again = tiny(family)
    again.load_state_dict(state)
    small = forward(again, 4, 128, int8=True)
    losses = text_loss(wide, ids), text_loss(small, ids)
    assert losses[0] < 4.5, "it has not learnt: perplexity would be that of guessing"
    assert math.exp(abs(losses[1] - losses[0])) < 1.01
    assert losses[0] != losses[1]
    assert small.memory_bytes < 0.6 * wide.memory_bytes


def test_a_family_without_linear_products_keeps_its_weights() -> None:
    ids = list(range(40))
    wide, same = (TransformersForward(tiny("gpt2"), 4, 128, int8) for int8 in (False, True))
    assert text_loss(wide, ids) == text_loss(same, ids)
    assert wide.memory_bytes == same.memory_bytes
