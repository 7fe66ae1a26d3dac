"""Processes that each hold the whole model: the bytes of the weights do not tell how many there were."""

import shutil
import subprocess
import sys
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from services.finetuning.spec import EXIT_DRAINED, EXIT_FAILED, EXIT_FINISHED, TrainingSpec
from shared.config import child_environment
from shared.pipelines.resources import Resources
from tests.finetuning.distributed.running import alone, shared_run
from tests.support.training_children import start_training
from tests.support.training_runs import StopAfter, named, read_events, run, weights_of
from tests.support.wait import eventually

PATIENCE = 500
"""Seconds in which a process has imported torch, however busy the machine."""
pytestmark = pytest.mark.timeout(900)
FULL, LORA = {"name": "full"}, {"name": "lora", "lora_dropout": 0.1, "precision": "bfloat16"}


def same(one: TrainingSpec, other: TrainingSpec) -> bool:
    """Weights and the log of rows."""
    logs = [(spec.work_dir / "rows.log").read_bytes() for spec in (one, other)]
    return weights_of(one.output_dir) == weights_of(other.output_dir) and logs[0] == logs[1]


def test_a_run_goes_on_with_any_number_of_processes_to_the_same_bytes(tmp_path: Path) -> None:
    calm = alone(tmp_path, "classification", FULL)
    assert run(calm)[0] == EXIT_FINISHED

    three = shared_run(tmp_path, "classification", FULL, 3, checkpoint_every_steps=1)
    one = replace(three, resources=Resources())
    assert run(one, StopAfter(1))[0] == EXIT_DRAINED
    code, events = run(three)

    assert code == EXIT_FINISHED, events
    (started,) = named(events, "started")
    assert (started["start_step"], started["processes"]) == (1, 3)
    assert [event["step"] for event in named(events, "validation")] == [1, 2, 3]
    assert same(three, calm)

    shutil.rmtree(three.output_dir)
    code, events = run(one)
    assert (code, named(events, "started")[0]["start_step"]) == (EXIT_FINISHED, 2)
    assert same(one, calm)


def test_torchrun_starts_the_same_run(tmp_path: Path) -> None:
    calm, spec = alone(tmp_path, "classification", LORA), shared_run(tmp_path, "classification", LORA, 1)
    assert run(calm)[0] == EXIT_FINISHED
    (tmp_path / "spec.json").write_text(spec.to_json())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

    done = subprocess.run(
        [*torchrun, "-m", "services.finetuning.training", str(tmp_path / "spec.json")],
        env={**child_environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"event": "finished"') == 1, "the first process alone tells"
    assert same(spec, calm)


def begin(spec: TrainingSpec, folder: Path) -> tuple[BaseProcess, psutil.Process]:
    """The leader and the other process of a run of two that has a checkpoint; spec and events lie in `folder`."""
    folder.mkdir()
    (folder / "spec.json").write_text(spec.to_json())
    told = folder / "events"
    leader = start_training(folder / "spec.json", told)
    eventually(lambda: told.exists() and '"event": "checkpoint"' in told.read_text(), PATIENCE)
    assert leader.pid is not None
    (other,) = psutil.Process(leader.pid).children()
    return leader, other


def test_when_one_process_dies_none_is_left_and_the_run_can_go_on(tmp_path: Path) -> None:
    spec = shared_run(tmp_path, "classification", {**FULL, "epochs": 1000}, 2, checkpoint_every_steps=1)

    leader, other = begin(spec, tmp_path / "first")
    other.kill()
    leader.join(PATIENCE)
    assert leader.exitcode == EXIT_FAILED
    (failed,) = named(read_events(tmp_path / "first" / "events"), "failed")
    assert failed["message"] == "process 1 of 2 was killed by SIGKILL"

    leader, other = begin(spec, tmp_path / "second")
    leader.kill()
    leader.join(PATIENCE)
    assert psutil.wait_procs([other], timeout=PATIENCE)[1] == []

    code, events = run(replace(spec, resources=Resources()), StopAfter(2))
    assert (code, named(events, "started")[0]["start_step"] > 1) == (EXIT_DRAINED, True)
