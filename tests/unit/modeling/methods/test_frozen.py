"""A base held in 8 or 4 bits: close to the original, in a fraction of the bytes, with the gradients of a float one."""

from typing import Any

import pytest
import torch
from torch import nn

from shared.errors import InvalidArgument
from shared.modeling.methods.frozen import BLOCK, PACKED, FrozenLinear, hold_frozen
from tests.support.tiny_encoders import tiny_classifier
from tests.unit.inference.engine.tiny import FAMILIES

ERRORS = {"int8": 0.01, "int4": 0.12}  # of the weights' spread, for normal weights
BYTES = {"int8": 1.1, "int4": 0.6}  # a weight, scales included


@pytest.mark.parametrize("precision", PACKED)
@pytest.mark.parametrize("shape", [(64, 128), (3, 5), (1, 1), (7, 64), (5, 63)])
def test_packed_weights_are_close_and_small(precision: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = torch.randn(shape)
    packed = PACKED[precision](weight)
    found = packed.unpacked(torch.float32)
    assert found.shape == shape
    if weight.numel() > 1000:
        assert float((found - weight).square().mean().sqrt()) < ERRORS[precision]
    size = sum(buffer.nbytes for name, buffer in packed.named_buffers() if name != "table")
    if weight.numel() >= 16 * BLOCK:
        assert size < BYTES[precision] * weight.numel()


@pytest.mark.parametrize("precision", PACKED)
def test_extremes_stay_finite_and_the_largest_stays_itself(precision: str) -> None:
    weight = torch.zeros(4, BLOCK)
    weight[1, 3], weight[2, 5], weight[3, 7] = 1e30, -2.0, 1e-30
    found = PACKED[precision](weight).unpacked(torch.float32)
    assert torch.isfinite(found).all()
    assert torch.equal(found[0], weight[0])
    torch.testing.assert_close(found[1:], weight[1:])


@pytest.mark.parametrize("precision", PACKED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_and_its_gradient_are_those_of_the_unpacked_weight(precision: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 24)
    frozen = FrozenLinear(linear, PACKED[precision](linear.weight.detach()))
    x = torch.randn(2, 3, 40, dtype=dtype, requires_grad=True)
    twin = x.detach().clone().requires_grad_(True)
    weight = frozen.packed.unpacked(dtype)  # type: ignore[operator]
    expected = nn.functional.linear(twin, weight) + linear.bias.to(dtype)
    made = frozen(x)
    assert made.dtype is dtype
    torch.testing.assert_close(made, expected)
    for result in (made, expected):
        torch.autograd.backward(result.float().square().sum())
    torch.testing.assert_close(x.grad, twin.grad)


@pytest.mark.parametrize("precision", PACKED)
def test_all_frozen_layers_are_packed_but_the_output(precision: str) -> None:
    model: Any = FAMILIES["llama"]().requires_grad_(False)
    model.model.layers[0].mlp.up_proj.requires_grad_(True)
    hold_frozen(model, precision)
    packed = [name for name, module in model.named_modules() if isinstance(module, FrozenLinear)]
    assert len(packed) == 2 * 7 - 1
    assert type(model.lm_head) is nn.Linear
    assert type(model.model.layers[0].mlp.up_proj) is nn.Linear


def test_float32_changes_nothing_and_a_model_without_linear_layers_is_refused() -> None:
    model = tiny_classifier("roberta").requires_grad_(False)
    hold_frozen(model, "float32")
    assert not [module for module in model.modules() if isinstance(module, FrozenLinear)]
    with pytest.raises(InvalidArgument, match="no linear layers that could be held as int8"):
        hold_frozen(FAMILIES["gpt2"]().requires_grad_(False), "int8")
