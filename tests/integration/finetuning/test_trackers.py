"""Runs as TensorBoard, MLflow and Weights & Biases keep them. The last two are extras, and skipped without them."""

from pathlib import Path
from typing import Any

import pytest

from services.finetuning.tracking.mlflow import MLflow
from services.finetuning.tracking.tracker import Experiment, Point, Tracker
from services.finetuning.tracking.wandb import WeightsAndBiases
from shared.contracts.generated.flywheel.tracking.v1 import tensorboard_pb2 as pb
from shared.storage.database import Database
from tests.integration.finetuning.support import World, scripted
from tests.support.tensorboard import events_of

foreign = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
"""Warnings of the trackers' own code."""


def follow(tracker: Tracker, attempt: int, steps: range, restored: int = 0, state: str = "succeeded") -> None:
    """One run: the steps up to `restored` were measured by an earlier one."""
    tracker.begin(Experiment("mood", "job-1", f"run-{attempt}", attempt, {"method.name": "full", "seed": 1}))
    for step in steps:
        at = 1.7e9 + step
        tracker.point(Point(step, at, {"train/loss": 1 / step, "train/learning_rate": 0.1}, step <= restored))
        if step % 5 == 0:
            tracker.point(Point(step, at, {"validation/loss": 2 / step}, step <= restored))
    tracker.end(state)


def test_a_job_leaves_its_event_file_in_the_store(database: Database, tmp_path: Path) -> None:
    world = World.make(database, tmp_path / "home")
    job = world.job(world.dataset())
    world.run(job, scripted("crash-once"))
    world.run(job, scripted("crash-once"))
    assert world.get(job).state == "succeeded"
    folder = Path(world.settings.resolved_artifacts_url) / "runs" / "mood" / job / "tensorboard"
    (path,) = folder.iterdir()
    assert path.name.endswith(world.runs(job)[1].id), "of the run that went to the end"
    content = events_of(path)[1].summary.value[0].metadata.plugin_data.content
    settings = pb.HyperParameters.FromString(content).session_start_info.hparams
    assert settings["method.batch_size"].number_value == 4
    assert settings["data.rows"].number_value == 20


@foreign
def test_mlflow_has_one_run_a_job_and_every_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    follow(MLflow(), 1, range(1, 8), state="failed")
    follow(MLflow(), 2, range(1, 13), restored=5)
    client: Any = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("mood").experiment_id])
    assert (run.info.status, run.data.params["method.name"]) == ("FINISHED", "full")
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "train/loss")] == [
        (step, 1 / step) for step in range(1, 13)
    ]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "validation/loss")] == [5, 10]


@foreign
def test_weights_and_biases_keeps_runs_without_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    follow(WeightsAndBiases(tmp_path), 1, range(1, 8), state="failed")
    follow(WeightsAndBiases(tmp_path), 2, range(1, 13), restored=5)
    kept = sorted((tmp_path / "wandb").glob("offline-run-*/run-job-1.wandb"))
    assert len(kept) == 2, "one an attempt, of the same run"
    assert all(b"validation/loss" in path.read_bytes() for path in kept)
    assert b"method.name" in kept[0].read_bytes()
