"""`kill -9` at any point of training changes nothing in the result (CPU, float32)."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from services.finetuning.checkpoint_files import newest_first, verifies
from services.finetuning.spec import TrainingSpec
from tests.finetuning.exactness.killing import Point, Where, train
from tests.support.training_runs import make_spec, some_rows

pytestmark = pytest.mark.timeout(900)

SEED = 20
STEPS, CHECKPOINT_EVERY = 48, 3


@dataclass(frozen=True)
class Case:
    """A run, and how often it is killed at which sort of points."""

    kind: str
    method: dict[str, Any]
    kills: dict[Where, int]


CASES = {
    "full": Case(
        "classification", {"name": "full", "epochs": 4}, {"anywhere": 9, "checkpoint": 6, "byte": 2, "model": 3}
    ),
    "lora": Case(
        "chat", {"name": "lora", "epochs": 4, "lora_dropout": 0.1}, {"anywhere": 3, "checkpoint": 2, "byte": 1}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    rows = some_rows(case.kind, 48) + some_rows(case.kind, 8, "validation", 200)
    calm = make_spec(tmp_path, case.kind, rows, case.method, work_dir=tmp_path / "calm", output_dir=tmp_path / "calm-m")
    counted, stormy = (
        replace(
            calm, checkpoint_every_steps=CHECKPOINT_EVERY, work_dir=tmp_path / name, output_dir=tmp_path / f"{name}-m"
        )
        for name in ("counted", "stormy")
    )
    assert train(calm)[0] == 0
    code, calls = train(counted)
    assert code == 0

    for point in points(case, calls, largest_file(counted)):
        assert train(stormy, point)[0] == point.exit_code, point
        whole_or_absent(stormy)
    assert train(stormy)[0] == 0
    for run in (counted, stormy):
        assert files(run.output_dir) == files(calm.output_dir)
        assert (run.work_dir / "rows.log").read_bytes() == (calm.work_dir / "rows.log").read_bytes()
    assert not list(stormy.work_dir.rglob(".*.partial"))


def points(case: Case, calls: dict[Where, int], largest: int) -> list[Point]:
    """Drawn so early that no attempt, nor all of them together, can come to the end; there the last ones fall."""
    chance = random.Random(SEED)
    saves = STEPS // CHECKPOINT_EVERY - 1
    latest: dict[Where, int] = {
        "anywhere": calls["anywhere"] // sum(case.kills.values()),
        "checkpoint": calls["checkpoint"] // saves,
        "byte": largest - 1,
        "model": calls["model"],
    }
    assert min(latest.values()) > 50, "what is to be interrupted has another name by now"
    drawn = [
        Point(where, chance.randint(1, latest[where])) for where, kills in case.kills.items() for _ in range(kills)
    ]
    chance.shuffle(drawn)
    drawn.sort(key=lambda point: point.where == "model")
    print(f"seed {SEED}: {drawn}")
    return drawn


def largest_file(spec: TrainingSpec) -> int:
    """Bytes of the largest file of the checkpoints."""
    return max(file.stat().st_size for path in newest_first(spec.work_dir / "checkpoints") for file in path.iterdir())


def whole_or_absent(spec: TrainingSpec) -> None:
    """What a kill leaves under the name of a checkpoint or a model is one."""
    assert all(verifies(path) for path in newest_first(spec.work_dir / "checkpoints"))
    assert not spec.output_dir.exists()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
