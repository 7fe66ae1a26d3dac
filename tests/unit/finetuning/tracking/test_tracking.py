"""Runs as their trackers hear of them."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.finetuning.attempts import Attempt
from services.finetuning.tracking.background import Background
from services.finetuning.tracking.tensorboard import TensorBoard
from services.finetuning.tracking.tracker import Experiment, Point
from services.finetuning.tracking.tracking import Tracking, flat, open_tracking
from services.finetuning.watch import JobWatch
from services.finetuning.workplace import Workplace
from shared.errors import LeaseLost
from tests.integration.finetuning.support import World
from tests.support.tensorboard import series
from tests.support.training_runs import StopAfter, make_spec, run, some_rows

EXPERIMENT = Experiment("mood", "job-1", "run-1", 1, {"seed": 1})
STARTED = {"event": "started", "rows": 20, "tokens": 100, "precision": "float32"}


class Listener:
    """A tracker that remembers what it heard."""

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.points: list[Point] = []
        self.state = ""

    def begin(self, experiment: Experiment) -> None:
        self.settings = dict(experiment.settings)

    def point(self, point: Point) -> None:
        self.points.append(point)

    def end(self, state: str) -> None:
        self.state = state


class Broken(Listener):
    """A tracker that fails at its first point."""

    def point(self, point: Point) -> None:
        super().point(point)
        raise ConnectionError("no route to host")


class Stuck(Listener):
    """A tracker that answers only when released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def begin(self, experiment: Experiment) -> None:
        self.released.wait(60)


class Watch(JobWatch):
    """A watch over nothing."""

    def __init__(self, *, cancel: bool = False, lost: bool = False) -> None:
        self.cancel, self.is_lost = cancel, lost

    def check(self) -> None:
        if self.is_lost:
            raise LeaseLost("another worker's")


def curve(*steps: int, restored: bool = False) -> dict[str, object]:
    points = [[step, 1.7e9 + step, {"train/loss": 1 / step}] for step in steps]
    return {"event": "curve", "points": points, "restored": restored}


def tracking(folder: Path, *others: Listener | Background) -> Tracking:
    return Tracking(EXPERIMENT, TensorBoard(folder), others)


def test_a_tracker_hears_settings_points_and_the_end(world: World, tmp_path: Path) -> None:
    listener = Listener()
    told = tracking(tmp_path, listener)
    for event in (STARTED, curve(1, 2, restored=True), {"event": "progress", "step": 3}, curve(3)):
        told.event(event)
    told.close("finished", world.artifacts, Watch())
    assert listener.settings == {"seed": 1, "data.rows": 20, "data.tokens": 100, "data.precision": "float32"}
    assert [(point.step, point.restored) for point in listener.points] == [(1, True), (2, True), (3, False)]
    assert listener.state == "succeeded"


@pytest.mark.parametrize(
    ("ended", "cancel", "state"),
    [("stopped", False, "drained"), ("stopped", True, "cancelled"), ("failed", False, "failed")],
)
def test_a_tracker_hears_how_a_run_ended(world: World, tmp_path: Path, ended: str, cancel: bool, state: str) -> None:
    listener = Listener()
    told = tracking(tmp_path, listener)
    told.event(STARTED)
    told.close(ended, world.artifacts, Watch(cancel=cancel))
    assert listener.state == state


def test_a_run_that_never_started_is_tracked_nowhere(world: World, tmp_path: Path) -> None:
    listener = Listener()
    tracking(tmp_path / "board", listener).close("failed", world.artifacts, Watch())
    assert listener.state == ""
    assert world.artifacts.list("runs/mood/job-1") == []


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(world: World, tmp_path: Path) -> None:
    broken, listener = Broken(), Listener()
    told = tracking(tmp_path, broken, listener)
    with capture_logs() as logs:
        for event in (STARTED, curve(1), curve(2)):
            told.event(event)
    assert len(broken.points) == 1
    assert len(listener.points) == 2
    assert [line["error"] for line in logs] == ["no route to host"]


def test_a_full_disk_costs_the_files_and_not_the_run(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = tracking(tmp_path / "file" / "board")
    with capture_logs() as logs:
        told.event(STARTED)
        told.event(curve(1))
        told.close("finished", world.artifacts, Watch())
    assert len(logs) == 1


def test_files_of_a_job_that_another_worker_holds_are_left_alone(world: World, tmp_path: Path) -> None:
    listener = Listener()
    told = tracking(tmp_path, listener)
    told.event(STARTED)
    told.close("failed", world.artifacts, Watch(lost=True))
    assert listener.state == ""
    assert world.artifacts.list("runs/mood/job-1") == []


def test_a_slow_tracker_holds_nobody_up_and_hears_all_in_the_end(world: World, tmp_path: Path) -> None:
    stuck = Stuck()
    background = Background("slow", stuck, patience=0.01)
    told = tracking(tmp_path, background)
    told.event(STARTED)
    told.event(curve(1, 2, 3))
    with capture_logs() as logs:
        told.close("finished", world.artifacts, Watch())
    assert [line["waiting"] for line in logs] == [5]
    stuck.released.set()
    background._thread.join(60)
    assert ([point.step for point in stuck.points], stuck.state) == ([1, 2, 3], "succeeded")


def test_a_tracker_that_never_catches_up_loses_points_and_no_memory(world: World, tmp_path: Path) -> None:
    stuck = Stuck()
    background = Background("slow", stuck, patience=0.01, waiting=4)
    told = tracking(tmp_path, background)
    with capture_logs() as logs:
        for event in (STARTED, curve(*range(1, 50))):
            told.event(event)
    assert len(logs) == 1, "told once"
    stuck.released.set()


def test_a_tracker_that_fails_in_its_thread_is_told_once(world: World, tmp_path: Path) -> None:
    broken = Broken()
    told = tracking(tmp_path, Background("broken", broken, patience=60))
    with capture_logs() as logs:
        told.event(STARTED)
        told.event(curve(1, 2, 3))
        told.close("finished", world.artifacts, Watch())
    assert [line["error"] for line in logs] == ["ConnectionError: no route to host"]
    assert (len(broken.points), broken.state) == (1, "")


def test_settings_are_flat_and_only_those_that_are_set() -> None:
    given = {"method": {"name": "full", "layers": None}, "labels": ["a", "b"], "seed": 7}
    assert dict(flat(given)) == {"method.name": "full", "labels": "['a', 'b']", "seed": 7}


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_told_and_the_run_goes_on(
    world: World, attempt: Attempt, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("services.finetuning.tracking.tracking.find_spec", lambda name: None)
    world.limit(tracking=name)
    place = Workplace(world.settings.home, attempt.job.id)
    with capture_logs() as logs:
        told = open_tracking(world.settings, attempt, place)
    assert f"flywheel[{name}]" in logs[0]["advice"]
    told.event(STARTED)
    told.close("finished", world.artifacts, Watch())
    assert world.artifacts.list(f"runs/mood/{attempt.job.id}/tensorboard")


def board_of(folder: Path, attempt: int, events: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """What TensorBoard shows after a run with these events."""
    told = Tracking(replace(EXPERIMENT, attempt=attempt), TensorBoard(folder))
    for event in events:
        told.event(event)
    (path,) = folder.iterdir()
    return series(path)


def test_a_run_that_was_killed_beyond_its_checkpoint_is_tracked_as_if_it_were_not(tmp_path: Path) -> None:
    rows = some_rows("classification", 24) + some_rows("classification", 4, "validation", 100)
    places: dict[str, Any] = {"work_dir": tmp_path / "calm", "output_dir": tmp_path / "calm-model"}
    calm = board_of(tmp_path / "board-0", 1, run(make_spec(tmp_path, "classification", rows, **places))[1])
    spec = make_spec(tmp_path, "classification", rows, checkpoint_every_steps=5)

    first = board_of(tmp_path / "board", 1, run(spec, StopAfter(7))[1])
    shutil.rmtree(spec.work_dir / "checkpoints" / "step-00000007")
    second = board_of(tmp_path / "board", 2, run(spec)[1])

    assert list(first["train/loss"]) == list(range(1, 8))
    for name in ("train/loss", "train/learning_rate", "train/gradient_norm", "validation/loss", "validation/accuracy"):
        assert second[name] == calm[name], name
    assert list(second["train/tokens_per_second"]) == list(range(1, 13))
