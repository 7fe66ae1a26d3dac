"""The moving average of the weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED
from services.finetuning.training.model.average import AverageWeights
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds import find_kind
from shared.modeling.methods import find_method
from shared.pipelines.methods import MethodConfig
from tests.support.tiny_models import tiny_decoder
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of


def _weights(folder: Path, precision: str) -> tuple[Any, TrainedWeights]:
    model = find_kind("chat").load(tiny_decoder(folder / "base"), ())
    model = find_method("full").prepare(model, "chat", MethodConfig())
    return model, TrainedWeights(model, precision)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_average_follows_slowly_and_takes_the_models_place(tmp_path: Path, precision: str) -> None:
    model, weights = _weights(tmp_path, precision)
    first = {name: value.detach().clone() for name, value in weights.masters.items()}
    average = AverageWeights(weights, 0.5)
    with torch.no_grad():
        for value in weights.masters.values():
            value.add_(1.0)
    average.update(100)
    name, master = next(iter(weights.masters.items()))
    assert torch.allclose(average.values[name], first[name] + 0.5, atol=1e-6)
    with average.in_place():
        assert torch.allclose(master, first[name] + 0.5, atol=1e-6)
        inside = dict(model.named_parameters())[name]
        assert torch.allclose(inside.float(), first[name] + 0.5, atol=0.02)
    assert torch.allclose(master, first[name] + 1.0, atol=1e-6)
    assert torch.allclose(dict(model.named_parameters())[name].float(), first[name] + 1.0, atol=0.02)


def test_short_runs_do_not_average_what_they_began_with(tmp_path: Path) -> None:
    _, weights = _weights(tmp_path, "float32")
    average = AverageWeights(weights, 0.9999)
    with torch.no_grad():
        for value in weights.masters.values():
            value.fill_(2.0)
    for step in range(1, 30):
        average.update(step)
    assert all(torch.allclose(value, torch.tensor(2.0), atol=0.01) for value in average.values.values())


@pytest.mark.parametrize("method", [{}, {"precision": "bfloat16"}, {"name": "lora", "lora_dropout": 0.1}])
def test_an_averaged_run_continues_exactly_and_keeps_the_average(tmp_path: Path, method: dict[str, Any]) -> None:
    rows = some_rows("chat", 24) + some_rows("chat", 4, "validation", 100)

    def spec(**changes: Any) -> Any:
        return make_spec(tmp_path, "chat", rows, {"ema_decay": 0.9, **method}, **changes)

    calm = spec(output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    _, calm_events = run(calm)
    stopped = spec()
    assert run(stopped, StopAfter(2))[0] == EXIT_DRAINED
    assert run(stopped, StopAfter(5))[0] == EXIT_DRAINED
    code, events = run(stopped)
    assert code == EXIT_FINISHED
    assert weights_of(stopped.output_dir) == weights_of(calm.output_dir)
    assert named(events, "finished")[0]["metrics"] == named(calm_events, "finished")[0]["metrics"]

    plain = make_spec(tmp_path, "chat", rows, method, output_dir=tmp_path / "plain", work_dir=tmp_path / "plain-work")
    run(plain)
    assert weights_of(plain.output_dir) != weights_of(calm.output_dir)


def test_an_average_without_inertia_is_nearly_the_last_weights(tmp_path: Path) -> None:
    rows = some_rows("chat", 16)
    found = []
    for decay in (None, 1e-6):
        spec = make_spec(tmp_path / str(decay), "chat", rows, {"ema_decay": decay, "epochs": 1, "learning_rate": 1e-3})
        assert run(spec)[0] == EXIT_FINISHED
        found.append(load_file(spec.output_dir / "model.safetensors"))
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-6), name
