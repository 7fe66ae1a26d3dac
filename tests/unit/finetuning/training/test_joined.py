"""Layers joined into one product give what they give apart: outputs, gradients, and weights of their own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration

from services.finetuning.training.model.joined import Joined, join_layers, same_input, share
from services.finetuning.training.model.recomputing import recompute_layers
from shared.modeling.kinds import find_kind
from tests.support.tiny_encoders import tiny_bert
from tests.support.tiny_models import tiny_decoder

FINE = 0.02
"""Of a tensor's size, in bfloat16."""


def _layers(biased: bool, sizes: tuple[int, ...] = (8, 4, 4)) -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(6, size, bias=biased).bfloat16() for size in sizes]


def _outcome(layers: list[nn.Linear], x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    for layer in layers:
        layer.zero_grad()
    made = [layer(x) for layer in layers]
    torch.autograd.backward(sum((torch.sin(one.float()) * (n + 1)).sum() for n, one in enumerate(made)))
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    return [value.detach().float() for value in (*made, x.grad, *(parameter.grad for parameter in parameters))]


def _join(layers: list[nn.Linear]) -> Joined:
    joined = Joined(layers)
    share(layers, joined.products, joined.fits)
    return joined


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(3, 6), (1, 5, 6), (2, 5, 6)])
def test_outputs_and_gradients_are_those_of_the_layers(biased: bool, shape: tuple[int, ...]) -> None:
    layers = _layers(biased)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    expected = _outcome(layers, x)
    weights = [layer.weight.detach().clone() for layer in layers]
    _join(layers)
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, weights, strict=True))
    found = _outcome(layers, x)
    assert len(found) == len(expected) == 4 + 3 * (1 + biased)
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == other.shape
        assert float((mine - other).norm()) <= FINE * float(other.norm())


def test_what_the_layers_are_given_next_is_computed_anew_in_any_order() -> None:
    layers = _layers(True)
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.randn(3, 6, generator=generator).bfloat16() for _ in range(2)]
    expected = [[layer(x) for layer in layers] for x in inputs]
    _join(layers)
    for number, place in ((0, 2), (1, 2), (1, 0), (0, 0), (0, 1), (0, 2), (1, 1), (1, 1)):
        torch.testing.assert_close(layers[place](inputs[number]), expected[number][place])


def test_a_value_set_in_place_is_seen_and_weights_put_elsewhere_are_the_layers_own() -> None:
    layers = _layers(False)
    x = torch.randn(3, 6).bfloat16()
    joined = _join(layers)
    assert joined.fits(x)
    with torch.no_grad():
        layers[1].weight.copy_(torch.ones(4, 6))
    torch.testing.assert_close(layers[1](x), x.float().sum(1, keepdim=True).bfloat16().expand(-1, 4))
    kept, layers[0].weight.data = layers[0].weight.data, torch.zeros(8, 6).bfloat16()
    assert not joined.fits(x)
    assert not layers[0](x).any()
    layers[0].weight.data = kept
    assert joined.fits(x)


def test_no_gradient_is_made_for_frozen_layers() -> None:
    layers = _layers(True)
    for layer in layers:
        layer.requires_grad_(False)
    _join(layers)
    x = torch.randn(3, 6).bfloat16().requires_grad_()
    torch.autograd.backward(sum(layer(x).float().sum() for layer in layers))
    assert x.grad is not None
    assert all(parameter.grad is None for layer in layers for parameter in layer.parameters())
    with torch.no_grad():
        assert not layers[0](x).requires_grad


def _classifier(recomputed: bool) -> Any:
    model: Any = tiny_bert("classification")[0].bfloat16()
    if recomputed:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        recompute_layers(model)
    return model


@pytest.mark.parametrize("recomputed", [False, True])
def test_an_encoder_gives_the_same_with_its_layers_joined(recomputed: bool) -> None:
    found = []
    for joined in (False, True):
        model = _classifier(recomputed)
        if joined:
            assert join_layers(model) == model.config.num_hidden_layers
        ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(1))
        made = model(input_ids=ids).logits.float()
        torch.autograd.backward(torch.sin(made).sum())
        grads = {name: value.grad.float() for name, value in model.named_parameters() if value.grad is not None}
        found.append({"": made.detach()} | grads)
    apart, together = found
    assert apart.keys() == together.keys()
    size = max(float(value.norm()) for value in apart.values())
    for name, value in apart.items():
        assert float((together[name] - value).norm()) <= 0.05 * max(float(value.norm()), 0.05 * size), name


def test_a_decoder_joins_gates_too_and_weights_that_are_saved_stay_apart(tmp_path: Path) -> None:
    model: Any = find_kind("chat").load(tiny_decoder(tmp_path / "base"), ())
    assert len(list(same_input(model))) == 2 * model.config.num_hidden_layers
    assert join_layers(model) == 0, "float32 weights are written as they lie"
    assert join_layers(model.bfloat16()) == 2 * model.config.num_hidden_layers


def test_layers_that_attend_to_an_encoder_stay_apart() -> None:
    config = BartConfig(
        vocab_size=50, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8,
    )  # fmt: skip
    assert join_layers(BartForConditionalGeneration(config).bfloat16()) == 0
