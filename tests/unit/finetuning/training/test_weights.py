"""Masters in float32, working copies in bfloat16, and what is frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds import find_kind
from shared.modeling.methods import find_method
from shared.modeling.methods.adalora import AdaLora
from shared.pipelines.methods import MethodConfig
from tests.support.tiny_models import tiny_decoder
from tests.support.training_runs import make_spec, run, some_rows


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["head", "last_layers"])
def test_frozen_weights_come_out_byte_for_byte(tmp_path: Path, method: str, precision: str) -> None:
    """Also those that no bfloat16 can hold."""
    keys = {"name": method, "precision": precision} | ({"layers": 1} if method == "last_layers" else {})
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8), keys)
    assert run(spec)[0] == 0
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (spec.base, spec.output_dir))
    frozen = [name for name in before if "pooler" not in name and not (method == "last_layers" and "layer.1." in name)]
    assert len(frozen) > 10
    for name in frozen:
        assert torch.equal(before[name], after[f"bert.{name}"]), name
    moved = [name for name in before if not torch.equal(before[name], after[f"bert.{name}"])]
    assert moved
    assert any(not torch.equal(before[name], before[name].bfloat16().float()) for name in frozen)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_method_does_in_place_reaches_the_masters(tmp_path: Path, precision: str) -> None:
    base = find_kind("chat").load(tiny_decoder(tmp_path / "base"), ())
    model: Any = find_method("lora").prepare(base, "chat", MethodConfig(name="lora", lora_rank=2))
    weights = TrainedWeights(model, precision)
    name = next(name for name in weights.masters if "lora_A" in name)
    master = weights.masters[name]
    master.grad = torch.full_like(master, 0.5)
    parameter = dict(model.named_parameters())[name]
    with weights.in_place():
        assert parameter.dtype is torch.float32
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.full_like(master, 0.5))
        with torch.no_grad():
            parameter[0].zero_()
    assert parameter.dtype is (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    assert not master[0].any()
    assert master[1].any()
    weights.publish()
    assert not parameter[0].any()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_adalora_takes_ranks_away_where_they_matter_least(tmp_path: Path, precision: str) -> None:
    keys = {"name": "adalora", "initial_rank": 6, "lora_rank": 2, "precision": precision, "epochs": 10}
    spec = make_spec(tmp_path, "chat", some_rows("chat", 12), keys)
    assert run(spec)[0] == 0
    ranks = {
        name: value.shape[0]
        for name, value in load_file(spec.output_dir / "adapter_model.safetensors").items()
        if name.endswith("lora_E")
    }
    assert len(ranks) == 14
    assert sum(ranks.values()) <= 2 * 14
    assert len(set(ranks.values())) > 1


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 10, 100])
def test_adalora_plans_any_number_of_steps(tmp_path: Path, steps: int) -> None:
    method = AdaLora()
    base = find_kind("chat").load(tiny_decoder(tmp_path / "base"), ())
    model: Any = method.prepare(base, "chat", MethodConfig(name="adalora", lora_rank=1, initial_rank=3))
    method.begin(model, steps)
    optimizer = torch.optim.AdamW((value for value in model.parameters() if value.requires_grad), lr=0.1)
    for step in range(min(steps, 12)):
        loss = model(input_ids=torch.tensor([[1, 40, 50 + step]])).logits.square().mean()
        torch.autograd.backward(loss + method.penalty(model))
        optimizer.step()
        method.after_step(model, step + 1)
        optimizer.zero_grad()
    left = sum(int(value.count_nonzero()) for name, value in model.named_parameters() if "lora_E" in name)
    assert left <= 3 * 14 if steps in (1, 100) else left <= 14
