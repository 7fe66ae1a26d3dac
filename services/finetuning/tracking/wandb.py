"""Weights & Biases: a project a pipeline, a run a job. Server, key and mode are its own variables (WANDB_MODE, …)."""

from pathlib import Path
from typing import Any

from services.finetuning.tracking.tracker import Experiment, Point


class WeightsAndBiases:
    """A later run of a job goes on in its run there, which by itself passes over steps that it has."""

    def __init__(self, folder: Path) -> None:
        """Keeps what is not uploaded yet in `folder`/wandb."""
        self._folder = folder
        self._run: Any = None

    def begin(self, experiment: Experiment) -> None:
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=experiment.pipeline,
            id=experiment.job,
            name=experiment.job,
            resume="allow",
            config=dict(experiment.settings),
            dir=str(self._folder),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def point(self, point: Point) -> None:
        if not point.restored:
            self._run.log(dict(point.values), step=point.step)

    def end(self, state: str) -> None:
        self._run.summary["state"] = state
        self._run.finish(exit_code=int(state == "failed"))
