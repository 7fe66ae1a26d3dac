"""`kill -9` at any moment of training changes nothing in the result."""

import random
import shutil
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from services.finetuning.spec import TrainingSpec
from tests.support.training_children import start_training
from tests.support.training_runs import make_spec, named, read_events, some_rows, weights_of

KILLS = 10
METHODS = [
    ("classification", {"name": "full", "batch_size": 4, "epochs": 4, "learning_rate": 1e-3}),
    ("chat", {"name": "lora", "batch_size": 4, "epochs": 4, "lora_dropout": 0.1, "gradient_accumulation": 1}),
]


@pytest.mark.parametrize(("kind", "method"), METHODS, ids=["classification-full", "chat-lora"])
def test_run_killed_ten_times_ends_with_the_same_bytes(tmp_path: Path, kind: str, method: dict[str, object]) -> None:
    rows = some_rows(kind, 96) + some_rows(kind, 8, "validation", 200)
    calm = make_spec(tmp_path, kind, rows, method, work_dir=tmp_path / "calm", output_dir=tmp_path / "calm-model")
    stormy = make_spec(
        tmp_path,
        kind,
        rows,
        method,
        checkpoint_every_steps=3,
        work_dir=tmp_path / "work",
        output_dir=tmp_path / "model",
    )
    assert _finish(calm) == 0

    chance = random.Random(20)
    cut_short = sum(_kill_once(stormy, number, chance) for number in range(KILLS))

    assert cut_short > 0, "no kill fell into the writing of a checkpoint"
    assert _finish(stormy) == 0
    assert weights_of(stormy.output_dir) == weights_of(calm.output_dir)
    assert (stormy.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()
    assert not list((stormy.work_dir / "checkpoints").glob(".*.partial"))


def _kill_once(spec: TrainingSpec, number: int, chance: random.Random) -> bool:
    """Kill the process some steps on, or while it writes a checkpoint (every other time); whether it wrote one."""
    log = spec.work_dir / "rows.log"
    wanted = _steps_logged(log) + chance.randint(1, 7)
    writing = spec.work_dir / "checkpoints"
    if number % 2:
        for left in writing.glob(".step-*.partial"):
            shutil.rmtree(left)
    process = _start(spec)
    if number % 2:
        _wait(process, lambda: any(writing.glob(".step-*.partial")))
    else:
        _wait(process, lambda: _steps_logged(log) >= wanted)
    process.kill()
    process.join()
    assert process.exitcode == -9
    return any(writing.glob(".step-*.partial"))


def _finish(spec: TrainingSpec) -> int | None:
    process = _start(spec)
    process.join(60)
    events = read_events(spec.work_dir / "events.jsonl")
    assert named(events, "finished"), events[-1]
    return process.exitcode


def _start(spec: TrainingSpec) -> BaseProcess:
    spec.work_dir.mkdir(exist_ok=True)
    path = spec.work_dir / "spec.json"
    path.write_text(spec.to_json())
    return start_training(path, spec.work_dir / "events.jsonl")


def _steps_logged(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def _wait(process: BaseProcess, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert process.is_alive(), "the process ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.0002)
