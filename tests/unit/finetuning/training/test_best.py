"""Early stopping, and the weights of the best validation."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from services.finetuning.training.loop.best import steering_metric
from shared.modeling.kinds import KINDS, find_kind
from shared.modeling.kinds.classification import Classification
from shared.pipelines.kinds import METRICS
from shared.pipelines.methods import resolve_method
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of


def _spec(folder: Path, method: dict[str, Any], kind: str = "classification", **changes: Any) -> TrainingSpec:
    rows = some_rows(kind, 24) + some_rows(kind, 4, "validation", 100)
    return make_spec(folder, kind, rows, {"epochs": 3, "validate_every_steps": 2, **method}, **changes)


def _scores(monkeypatch: pytest.MonkeyPatch, accuracies: Sequence[float]) -> None:
    """What the next validations say, instead of what they would."""
    left: Iterator[float] = iter(accuracies)

    def score(*_: Any) -> dict[str, float]:
        return {"loss": 1.0, "accuracy": next(left), "macro_f1": 0.5}

    monkeypatch.setattr(Classification, "score", score)


def _draw_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations whose result depends on the weights alone, and goes up and down."""

    def score(self: Any, model: Any, *_: Any) -> dict[str, float]:
        digest = sha256(b"".join(value.detach().float().numpy().tobytes() for value in model.parameters())).digest()
        return {"loss": 1.0, "accuracy": digest[0] / 255, "macro_f1": 0.5}

    monkeypatch.setattr(Classification, "score", score)


def test_training_ends_when_patience_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scores(monkeypatch, [0.2, 0.5, 0.5, 0.4, 0.9])
    code, events = run(_spec(tmp_path, {"patience": 2}))
    assert code == EXIT_FINISHED
    assert [event["step"] for event in named(events, "validation")] == [2, 4, 6, 8]
    (finished,) = named(events, "finished")
    assert finished["steps"] == 8
    assert finished["metrics"]["accuracy"] == 0.5
    (told,) = (event["message"] for event in named(events, "log"))
    assert "no better accuracy in 2 validations" in told
    assert "0.5 at step 4" in told


def test_a_better_score_renews_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scores(monkeypatch, [0.2, 0.1, 0.3, 0.2, 0.4, 0.3, 0.5, 0.4, 0.6])
    _, events = run(_spec(tmp_path, {"patience": 2}))
    assert named(events, "finished")[0]["steps"] == 18


def test_a_score_that_is_no_number_is_never_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scores(monkeypatch, [float("nan"), 0.1, float("nan"), float("nan")])
    _, events = run(_spec(tmp_path, {"patience": 2}))
    assert named(events, "finished")[0]["metrics"]["accuracy"] == 0.1


def test_no_score_at_all_keeps_the_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _scores(monkeypatch, [float("nan")] * 2)
    code, events = run(_spec(tmp_path, {"patience": 2}))
    assert code == EXIT_FINISHED
    assert named(events, "finished")[0]["steps"] == 4


def test_kinds_are_steered_by_a_metric_that_they_have() -> None:
    chosen = {name: steering_metric(find_kind(name)) for name in KINDS}
    assert chosen["classification"] == "accuracy"
    assert chosen["embedding"] == "mrr"
    assert chosen["chat"] == chosen["question_answering"] == "loss"
    for name, metric in chosen.items():
        assert metric in KINDS[name].metrics
        assert metric in METRICS[name]


def test_a_loss_is_better_when_it_is_lower(tmp_path: Path) -> None:
    """A rate that makes everything worse: the first validation was the best."""
    method = {"learning_rate": 0.3, "patience": 2, "schedule": "constant", "warmup_ratio": 0.0}
    _, events = run(_spec(tmp_path, method, "chat"))
    losses = [event["loss"] for event in named(events, "validation")]
    (finished,) = named(events, "finished")
    assert finished["metrics"]["loss"] == min(losses)
    assert losses[-1] > min(losses)


@pytest.mark.parametrize("method", [{}, {"name": "lora"}, {"precision": "bfloat16"}])
def test_the_best_weights_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any]) -> None:
    _scores(monkeypatch, [0.2, 0.5, 0.3, 0.4, 0.5, 0.1, 0.1, 0.2, 0.3])
    spec = _spec(tmp_path, {"keep_best": True, **method}, checkpoint_every_steps=1, keep_checkpoints=100)
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert named(events, "finished")[0]["steps"] == 18
    assert named(events, "finished")[0]["metrics"]["accuracy"] == 0.5
    best, last = (
        load_file(spec.work_dir / "checkpoints" / f"step-{step:08d}" / "weights.safetensors") for step in (4, 17)
    )
    adapter = spec.output_dir / "adapter_model.safetensors"
    kept = load_file(adapter if adapter.exists() else spec.output_dir / "model.safetensors")
    trained = {name: value for name, value in best.items() if "classifier" in name and value.ndim == 2}
    assert trained
    for name, value in trained.items():
        (found,) = (other for key, other in kept.items() if key.endswith("classifier.weight"))
        assert torch.equal(value, found)
        assert not torch.equal(last[name], found)


@pytest.mark.parametrize(
    "method",
    [
        {"keep_best": True},
        {"patience": 3},
        {"patience": 3, "ema_decay": 0.9, "precision": "bfloat16"},
        {"name": "lora", "lora_dropout": 0.1, "keep_best": True, "ema_decay": 0.99},
    ],
)
def test_what_was_best_is_remembered_over_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any]
) -> None:
    _draw_scores(monkeypatch)
    calm = _spec(tmp_path, method, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    assert run(calm)[0] == EXIT_FINISHED
    spec = _spec(tmp_path, method)
    for steps in (2, 3, 2):
        assert run(spec, StopAfter(steps))[0] in (EXIT_DRAINED, EXIT_FINISHED)
    assert run(spec)[0] == EXIT_FINISHED
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)


@pytest.mark.parametrize("key", [{"patience": 2}, {"keep_best": True}])
def test_deciding_by_validation_wants_validation_rows(tmp_path: Path, key: dict[str, Any]) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8), key)
    code, events = run(spec)
    assert code == EXIT_FAILED
    (failed,) = named(events, "failed")
    assert failed["reason"] == "BAD_DATA"
    assert next(iter(key)) in failed["message"]
    assert "validation" in failed["message"]


def test_validations_that_there_are_no_rows_for_are_told(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, "classification", some_rows("classification", 8), {"validate_every_steps": 1})
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert "validate_every_steps" in named(events, "log")[0]["message"]


def test_validation_after_the_last_step_even_between_two(tmp_path: Path) -> None:
    _, events = run(_spec(tmp_path, {"validate_every_steps": 7}))
    assert [event["step"] for event in named(events, "validation")] == [7, 14, 18]


@pytest.mark.parametrize("key", [{"patience": 2}, {"keep_best": True}, {"ema_decay": 0.9}])
def test_adalora_takes_no_weights_of_before_its_end(key: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(key))}.*ranks"):
        resolve_method("chat", {"name": "adalora", **key})


def test_keeping_the_best_comes_with_patience_unless_it_is_refused() -> None:
    assert resolve_method("chat", {"patience": 2}).keeps_best
    assert not resolve_method("chat", {"patience": 2, "keep_best": False}).keeps_best
    assert not resolve_method("chat", {}).keeps_best


def test_a_checkpoint_of_before_these_keys_is_continued(tmp_path: Path) -> None:
    spec = _spec(tmp_path, {"epochs": 2, "validate_every_steps": None})
    assert run(spec, StopAfter(2))[0] == EXIT_DRAINED
    (checkpoint,) = (spec.work_dir / "checkpoints").iterdir()
    state = json.loads((checkpoint / "state.json").read_text())
    state["cursor"] = {
        key: state["cursor"][key] for key in ("step", "validated_step", "metrics", "seconds", "rows_log_bytes")
    }
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["state.json"] = sha256((checkpoint / "state.json").read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    code, events = run(spec)
    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["start_step"] == 2
