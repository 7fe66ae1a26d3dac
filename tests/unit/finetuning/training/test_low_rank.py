"""Fused products of low rank are PEFT's, forwards and backwards; what they can't do is left to PEFT."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import Linear
from torch import Tensor

from services.finetuning.training.model.low_rank import fuse_low_rank
from shared.modeling.kinds import find_kind
from shared.modeling.methods import find_method
from shared.pipelines.methods import resolve_method
from tests.support.tiny_models import tiny_decoder, tiny_encoder
from tests.support.training_runs import some_rows


def _adapted(folder: Path, kind: str, keys: dict[str, Any]) -> Any:
    make = tiny_decoder if kind == "chat" else tiny_encoder
    found = find_kind(kind)
    torch.manual_seed(0)
    labels = found.learn_labels(some_rows(kind, 8))
    base = found.load(make(folder / "base"), labels)
    config = resolve_method(kind, keys)
    model: Any = find_method(config.name).prepare(base, kind, config)
    for name, value in model.named_parameters():
        if "lora_B" in name:  # which begin at zero
            torch.nn.init.normal_(value, std=0.3)
    return model.eval()


def _outcome(model: Any, ids: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    made = model(input_ids=ids).logits.float()
    torch.autograd.backward(torch.sin(made).sum())
    return {"": made.detach()} | {
        name: value.grad.detach().float().clone() for name, value in model.named_parameters() if value.grad is not None
    }


def _apart(found: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """The largest difference of all tensors, as a share of the tensor's size."""
    return max(float((found[name] - value).norm() / value.norm()) for name, value in exact.items())


@pytest.mark.parametrize("kind", ["chat", "classification"])
@pytest.mark.parametrize("name", ["lora", "rslora"])
def test_outputs_and_gradients_are_pefts(tmp_path: Path, kind: str, name: str) -> None:
    model = _adapted(tmp_path, kind, {"name": name, "lora_rank": 3})
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    expected = _outcome(model, ids)
    assert fuse_low_rank(model) == sum("lora_A" in parameter for parameter, _ in model.named_parameters())
    found = _outcome(model, ids)
    assert any("lora_A" in parameter for parameter in found)
    assert found.keys() == expected.keys()
    assert _apart(found, expected) < 1e-4


@pytest.mark.parametrize("fused", [True, False])
def test_a_layer_in_bfloat16_is_off_by_its_roundings_only(tmp_path: Path, fused: bool) -> None:
    """As PEFT's is."""
    model = _adapted(tmp_path, "classification", {"name": "lora", "lora_rank": 3})
    rounded = copy.deepcopy(model).bfloat16()
    if fused:
        assert fuse_low_rank(rounded)
    outcomes = []
    for one in (rounded, model.bfloat16().float()):
        layer = next(module for module in one.modules() if isinstance(module, Linear))
        x = torch.randn(5, 7, layer.in_features, generator=torch.Generator().manual_seed(2)).bfloat16()
        x = x.to(next(layer.parameters()).dtype).requires_grad_()
        made = layer(x)
        (made.float() * torch.linspace(-1, 1, made.numel()).view(made.shape)).sum().backward()
        found = {name: value.grad for name, value in layer.named_parameters() if value.grad is not None}
        outcomes.append({name: value.detach().float() for name, value in ({"y": made, "x": x.grad} | found).items()})
    assert len(outcomes[0]) == 4
    assert _apart(outcomes[0], outcomes[1]) < 0.02


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "lora", "lora_dropout": 0.1},
        {"name": "dora"},
        {"name": "adalora"},
        {"name": "ia3"},
        {"name": "lora", "base_precision": "int8"},
    ],
)
def test_what_it_does_not_compute_is_left_to_peft(tmp_path: Path, keys: dict[str, Any]) -> None:
    assert fuse_low_rank(_adapted(tmp_path, "chat", keys)) == 0


def test_a_disabled_or_merged_adapter_stays_so(tmp_path: Path) -> None:
    model = _adapted(tmp_path, "chat", {"name": "lora"})
    ids = torch.arange(5, 14)[None]
    with torch.no_grad():
        adapted = model(input_ids=ids).logits
        with model.disable_adapter():
            base = model(input_ids=ids).logits
        assert fuse_low_rank(model)
        torch.testing.assert_close(model(input_ids=ids).logits, adapted)
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, base)
        assert not torch.allclose(base, adapted, atol=1e-3)
        model.merge_adapter()
        torch.testing.assert_close(model(input_ids=ids).logits, adapted, rtol=1e-3, atol=1e-4)
