"""Processes that each hold a share of every parameter: the same weights but for rounding."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FINISHED
from shared.pipelines.resources import Resources
from tests.finetuning.distributed.running import alone, greatest_difference, shared_run
from tests.support.training_runs import StopAfter, named, run

TOLERANCE = 1e-5
"""Of a weight; each of the 3 steps moves it by up to 1e-4. Adam makes full steps of gradients that are mere rounding."""
pytestmark = pytest.mark.timeout(900)
METHOD = {"name": "full", "learning_rate": 1e-4}


def test_a_run_in_pieces_begins_and_ends_in_one_process(tmp_path: Path) -> None:
    calm = alone(tmp_path, "chat", METHOD)
    calm_code, calm_events = run(calm)
    assert calm_code == EXIT_FINISHED

    spec = shared_run(tmp_path, "chat", METHOD, 2, resources={"sharding": "full"}, checkpoint_every_steps=1)
    one = replace(spec, resources=Resources())
    assert run(one, StopAfter(1))[0] == EXIT_DRAINED
    code, events = run(spec)

    assert code == EXIT_FINISHED, events
    assert named(events, "started")[0]["start_step"] == 1
    assert (spec.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()
    assert greatest_difference(spec.output_dir, calm.output_dir) < TOLERANCE
    ours, theirs = (named(found, "validation")[-1]["loss"] for found in (events, calm_events))
    assert abs(ours - theirs) < 1e-4 * theirs

    shutil.rmtree(spec.output_dir)
    code, events = run(one)
    assert (code, named(events, "started")[0]["start_step"]) == (EXIT_FINISHED, 2)
    assert greatest_difference(one.output_dir, calm.output_dir) < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "method", "tolerance"),
    [
        ("classification", {**METHOD, "ema_decay": 0.5, "precision": "float32"}, TOLERANCE),
        ("classification", {**METHOD, "keep_best": True, "precision": "float32"}, TOLERANCE),
        ("chat", {"name": "lora", "learning_rate": 1e-4, "precision": "bfloat16"}, 4e-4),
    ],
    ids=["the average of weights", "the best weights", "lora in bfloat16"],
)
def test_what_a_run_keeps_is_what_one_process_keeps(
    tmp_path: Path, kind: str, method: dict[str, object], tolerance: float
) -> None:
    calm = alone(tmp_path, kind, method)
    assert run(calm)[0] == EXIT_FINISHED
    spec = shared_run(tmp_path, kind, method, 2, resources={"sharding": "full"})
    code, events = run(spec)
    assert code == EXIT_FINISHED, events
    assert greatest_difference(spec.output_dir, calm.output_dir) < tolerance
