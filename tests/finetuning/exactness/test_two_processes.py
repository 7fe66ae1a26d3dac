"""The same spec gives the same bytes in another process, in other folders, with other hashes; another seed does not."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.finetuning.spec import EXIT_FINISHED
from tests.finetuning.running import run_over_a_pipe
from tests.support.training_runs import make_spec, some_rows

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).parents[3]


def test_two_processes_write_the_same_model_byte_for_byte_and_another_seed_another_one(tmp_path: Path) -> None:
    rows = some_rows("classification", 16) + some_rows("classification", 4, "validation", 100)
    here = make_spec(tmp_path / "here", "classification", rows, {"name": "lora", "lora_dropout": 0.1}, seed=7)
    there = replace(here, work_dir=tmp_path / "far" / "away" / "work", output_dir=tmp_path / "far" / "away" / "model")
    other = replace(here, work_dir=tmp_path / "other" / "work", output_dir=tmp_path / "other" / "model", seed=8)
    assert run_over_a_pipe(here)[0] == EXIT_FINISHED
    assert run_over_a_pipe(other)[0] == EXIT_FINISHED

    there.work_dir.mkdir(parents=True)
    path = there.work_dir / "spec.json"
    path.write_text(there.to_json())
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "services.finetuning.training", str(path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == EXIT_FINISHED, done.stderr

    assert model_files(there.output_dir) == model_files(here.output_dir)
    assert (there.work_dir / "rows.log").read_bytes() == (here.work_dir / "rows.log").read_bytes()
    assert weights(other.output_dir) != weights(here.output_dir)


def model_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()
