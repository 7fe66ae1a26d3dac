"""Runs of one and of several processes on the same rows."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from services.finetuning.spec import TrainingSpec
from shared.pipelines.resources import Resources
from tests.support.training_runs import make_spec, some_rows

BATCHES = 3
"""Of a step: of two processes one has the last round to itself."""


def shared_run(folder: Path, kind: str, method: dict[str, Any], processes: int, **changes: Any) -> TrainingSpec:
    """A run of 3 steps, one an epoch; `processes` are started by the one that runs it."""
    rows = some_rows(kind, 12) + some_rows(kind, 4, "validation", 100)
    given = {"gradient_accumulation": BATCHES, "epochs": 3, **method}
    resources = Resources(processes=processes, **changes.pop("resources", {}))
    return make_spec(folder, kind, rows, given, resources=resources, **changes)


def alone(folder: Path, kind: str, method: dict[str, Any]) -> TrainingSpec:
    """The same run in one process, with folders of its own."""
    return shared_run(folder, kind, method, 1, work_dir=folder / "alone", output_dir=folder / "alone-model")


def greatest_difference(one: Path, other: Path) -> float:
    """Between the weights, or the adapters, of two model folders."""
    first, second = (load_file(next(folder.glob("*model.safetensors"))) for folder in (one, other))
    assert first.keys() == second.keys()
    return max(float(torch.max(torch.abs(first[name] - second[name]))) for name in first)
