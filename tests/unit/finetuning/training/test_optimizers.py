"""Each optimizer learns, is resumed exactly, and decays what it should."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED
from services.finetuning.training.model.adamw_8bit import SMALL, AdamW8bit, Packed, dynamic_codes
from services.finetuning.training.model.optimizers import MAKERS, gradient_norm, make_optimizer, step_clipped
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds import find_kind
from shared.modeling.methods import find_method
from shared.pipelines.methods import MethodConfig, resolve_method
from tests.support.tiny_models import tiny_encoder
from tests.support.training_runs import StopAfter, make_spec, run, some_rows, weights_of

RATES = {"adamw": 3e-3, "adamw_8bit": 3e-3, "adafactor": 3e-3, "sgd": 0.1}
OTHERS = ["adamw_8bit", "adafactor", "sgd"]


def _model(folder: Path) -> Any:
    model = find_kind("classification").load(tiny_encoder(folder / "base"), ("bad", "good"))
    return find_method("full").prepare(model, "classification", MethodConfig())


@pytest.mark.parametrize("optimizer", list(MAKERS))
def test_only_matrices_decay(tmp_path: Path, optimizer: str) -> None:
    """With gradients of nothing, what moves is what decays."""
    weights = TrainedWeights(_model(tmp_path), "float32")
    before = {name: value.detach().clone() for name, value in weights.masters.items()}
    config = MethodConfig(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
    made = make_optimizer(weights, config)
    for value in weights.masters.values():
        value.grad = torch.zeros_like(value)
    made.step()
    shrunk = {name for name, value in weights.masters.items() if not torch.equal(value, before[name])}
    assert shrunk == {name for name, value in before.items() if value.ndim > 1 and "embeddings" not in name}
    assert {"classifier.weight", "bert.encoder.layer.0.output.dense.weight"} <= shrunk
    for name in shrunk:
        assert torch.allclose(weights.masters[name], before[name] * 0.95, rtol=1e-4, atol=1e-8), name


@pytest.mark.parametrize("optimizer", OTHERS)
def test_optimizer_is_resumed_byte_for_byte(tmp_path: Path, optimizer: str) -> None:
    rows = some_rows("classification", 24) + some_rows("classification", 4, "validation", 100)
    method = {"optimizer": optimizer, "learning_rate": RATES[optimizer], "epochs": 3, "dropout": 0.0}
    calm = make_spec(
        tmp_path, "classification", rows, method, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work"
    )
    assert run(calm)[0] == EXIT_FINISHED
    spec = make_spec(tmp_path, "classification", rows, method)
    assert run(spec, StopAfter(1))[0] == EXIT_DRAINED
    assert run(spec, StopAfter(6))[0] == EXIT_DRAINED
    assert run(spec)[0] == EXIT_FINISHED
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)


@pytest.mark.parametrize("optimizer", list(MAKERS))
def test_every_optimizer_finds_the_bottom_of_a_bowl(optimizer: str) -> None:
    goal = torch.randn((70, 130), generator=torch.Generator().manual_seed(2))
    weight = nn.Parameter(goal + 1)
    made = MAKERS[optimizer]([{"params": [weight]}], 0.02, 0.0)
    for _ in range(200):
        weight.grad = (weight - goal).detach()
        made.step()
    assert float((weight.detach() - goal).abs().mean()) < 0.1


@pytest.mark.parametrize("optimizer", OTHERS)
def test_adapters_take_every_optimizer(tmp_path: Path, optimizer: str) -> None:
    method = {"name": "lora", "optimizer": optimizer, "learning_rate": 0.01, "epochs": 1, "precision": "bfloat16"}
    assert run(make_spec(tmp_path, "chat", some_rows("chat", 8), method))[0] == EXIT_FINISHED


def test_sgd_wants_a_learning_rate_of_its_own() -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        resolve_method("classification", {"optimizer": "sgd"})
    assert resolve_method("classification", {"optimizer": "sgd", "learning_rate": 0.1}).learning_rate == 0.1


@pytest.mark.parametrize("signed", [True, False])
def test_a_byte_stands_for_256_numbers_that_are_dense_near_zero(signed: bool) -> None:
    codes = dynamic_codes(signed)
    assert len(set(codes.tolist())) == 256
    assert codes.max() == 1
    assert (codes == 0).sum() == 1
    assert (codes < 0).any() == signed
    assert codes[codes > 0].min() < 1e-6


def test_packed_numbers_come_back_nearly() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(1000, generator=generator) * torch.logspace(-3, 2, 1000)
    packed, codes, scales = Packed(signed=True), torch.zeros(1000, dtype=torch.uint8), torch.zeros(4)
    packed.pack(values, codes, scales)
    largest = scales.repeat_interleave(256)[:1000]
    assert ((packed.unpack(codes, scales) - values).abs() <= 0.01 * largest).all()
    packed.pack(torch.zeros(1000), codes, scales)
    assert not packed.unpack(codes, scales).any()


@pytest.mark.parametrize("shape", [(SMALL - 1,), (70, 130), (3, SMALL)])
def test_moments_of_a_byte_lead_where_those_of_four_do(shape: tuple[int, ...]) -> None:
    """A noisy bowl: both come from a distance of 1 to nearly the same place."""
    goal = torch.randn(shape, generator=torch.Generator().manual_seed(2))

    def ends(make: Any) -> Tensor:
        weight = nn.Parameter(goal + 1)
        optimizer = make([weight], lr=0.02, weight_decay=0.0)
        generator = torch.Generator().manual_seed(3)
        for _ in range(150):
            weight.grad = (weight - goal).detach() + 0.1 * torch.randn(shape, generator=generator)
            optimizer.step()
        return weight.detach() - goal

    exact, packed = ends(torch.optim.AdamW), ends(AdamW8bit)
    assert packed.abs().mean() < 0.1
    assert (packed - exact).abs().mean() < 0.02
    if weight_count(shape) < SMALL:
        assert torch.allclose(packed, exact, atol=1e-5)


def weight_count(shape: tuple[int, ...]) -> int:
    return int(torch.tensor(shape).prod())


def test_packed_moments_take_a_quarter_of_the_memory() -> None:
    weight = nn.Parameter(torch.zeros(512, 512))
    optimizer = AdamW8bit([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    held = sum(value.nbytes for value in optimizer.state[weight].values())
    assert held < 0.26 * 2 * weight.nbytes


@pytest.mark.parametrize("size", [0.01, 50.0])
@pytest.mark.parametrize("optimizer", list(MAKERS))
def test_gradients_are_clipped_as_torch_does(optimizer: str, size: float) -> None:
    """What the weights become, and the gradients that a method sees afterwards, below the limit and above."""
    found = []
    for ours in (True, False):
        generator = torch.Generator().manual_seed(0)
        values = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 9), (5,))]
        made = MAKERS[optimizer]([{"params": values}], 0.1, 0.01)
        for _ in range(3):
            for value in values:
                value.grad = torch.randn(value.shape, generator=generator) * size
            norm = gradient_norm(values)
            if ours:
                step_clipped(made, values, norm, 1.0)
            else:
                assert torch.equal(torch.nn.utils.clip_grad_norm_(values, 1.0), norm)
                made.step()
        found.append([tensor.detach().clone() for value in values for tensor in (value, value.grad)])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)
    assert float(norm) > 1.0 or size < 1.0


def test_clipping_leaves_nothing_for_the_next_step() -> None:
    value = nn.Parameter(torch.zeros(3))
    made = MAKERS["adamw"]([{"params": [value]}], 0.1, 0.0)
    value.grad = torch.full((3,), 40.0)
    step_clipped(made, [value], gradient_norm([value]), 1.0)
    value.grad = torch.full((3,), 0.25)
    made.step()
    assert value.grad.tolist() == [0.25] * 3
