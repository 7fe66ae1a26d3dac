"""A run that is stopped and continued ends with the bytes of one that was not."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from tests.support.training_runs import StopAfter, make_spec, named, run, some_rows, weights_of

CASES = [
    ("classification", {"name": "full"}),
    ("classification", {"name": "lora", "lora_dropout": 0.1}),
    ("classification", {"name": "full", "precision": "bfloat16"}),
    ("chat", {"name": "full", "gradient_accumulation": 2}),
    ("chat", {"name": "lora", "lora_dropout": 0.1, "schedule": "cosine"}),
    ("classification", {"name": "head"}),
    ("classification", {"name": "last_layers", "layers": 1, "precision": "bfloat16"}),
    ("chat", {"name": "dora", "lora_dropout": 0.1, "base_precision": "int8"}),
    ("classification", {"name": "adalora", "initial_rank": 6, "lora_rank": 3}),
    ("chat", {"name": "adalora", "initial_rank": 6, "lora_rank": 3, "precision": "bfloat16"}),
    ("chat", {"name": "ia3", "precision": "bfloat16"}),
    ("chat", {"name": "prefix_tuning", "virtual_tokens": 4}),
    ("classification", {"name": "prefix_tuning", "virtual_tokens": 4}),
    ("classification", {"name": "prompt_tuning", "virtual_tokens": 4}),
    ("chat", {"name": "p_tuning", "virtual_tokens": 4, "precision": "bfloat16"}),
]


def _spec(folder: Path, kind: str = "classification", method: Any = None, **changes: Any) -> TrainingSpec:
    rows = some_rows(kind, 24) + some_rows(kind, 4, "validation", 100)
    return make_spec(folder, kind, rows, method, **changes)


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_drained_run_continues_exactly(tmp_path: Path, kind: str, method: dict[str, Any]) -> None:
    calm = _spec(tmp_path, kind, method, output_dir=tmp_path / "calm", work_dir=tmp_path / "calm-work")
    assert run(calm)[0] == EXIT_FINISHED

    spec = _spec(tmp_path, kind, method)
    assert run(spec, StopAfter(2))[0] == EXIT_DRAINED
    assert run(spec, StopAfter(3))[0] == EXIT_DRAINED
    code, events = run(spec)

    assert code == EXIT_FINISHED
    assert named(events, "started")[0]["start_step"] == 5
    assert weights_of(spec.output_dir) == weights_of(calm.output_dir)
    assert (spec.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()


def test_run_stopped_at_the_end_of_an_epoch_validates_once(tmp_path: Path) -> None:
    spec = _spec(tmp_path)
    _, first = run(spec, StopAfter(6))
    _, second = run(spec)
    assert [event["step"] for event in named(first, "validation") + named(second, "validation")] == [6, 12]
    assert named(second, "finished")[0]["metrics"] == named(second, "validation")[0]["metrics"]


def test_stop_before_the_first_step_leaves_nothing(tmp_path: Path) -> None:
    spec = _spec(tmp_path)
    code, events = run(spec, StopAfter(0))
    assert code == EXIT_DRAINED
    assert not named(events, "checkpoint")


def test_resuming_with_another_method_is_refused(tmp_path: Path) -> None:
    run(_spec(tmp_path), StopAfter(2))
    code, events = run(_spec(tmp_path, method={"learning_rate": 0.5}))
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BAD_SPEC"


def test_resuming_on_another_dataset_is_refused(tmp_path: Path) -> None:
    run(_spec(tmp_path), StopAfter(2))
    spec = make_spec(tmp_path, "classification", some_rows("classification", 30))
    assert named(run(spec)[1], "failed")[0]["reason"] == "BAD_SPEC"


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    spec = _spec(tmp_path, checkpoint_every_steps=1, keep_checkpoints=3)
    run(spec, StopAfter(8))
    kept = sorted(path.name for path in (spec.work_dir / "checkpoints").iterdir())
    assert kept == ["step-00000006", "step-00000007", "step-00000008"]


def test_checkpoints_hold_no_pickle(tmp_path: Path) -> None:
    spec = _spec(tmp_path, checkpoint_every_steps=2)
    run(spec, StopAfter(2))
    (checkpoint,) = (spec.work_dir / "checkpoints").glob("step-*")
    names = {path.name for path in checkpoint.iterdir()}
    assert names == {"weights.safetensors", "optimizer.safetensors", "rows.log", "state.json", "manifest.json"}
    assert set(json.loads((checkpoint / "manifest.json").read_text())) == names - {"manifest.json"}


def test_used_up_budget_fails_but_can_be_raised(tmp_path: Path) -> None:
    code, events = run(_spec(tmp_path, budget_seconds=1e-6))
    assert code == EXIT_FAILED
    assert named(events, "failed")[0]["reason"] == "BUDGET"
    assert run(_spec(tmp_path, budget_seconds=600.0))[0] == EXIT_FINISHED
