"""MLflow: an experiment a pipeline, a run a job. Where it is kept says MLflow's own MLFLOW_TRACKING_URI."""

from typing import Any

from services.finetuning.tracking.tracker import Experiment, Point

JOB = "flywheel.job"
STATES = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED", "drained": "SCHEDULED"}
LONGEST_SETTING = 500


class MLflow:
    """A later run of a job goes on in its experiment; steps that are there already are not written again."""

    def __init__(self) -> None:
        self._client: Any = None
        self._run = ""
        self._known: dict[str, int] = {}

    def begin(self, experiment: Experiment) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        place = self._experiment(experiment.pipeline)
        found = self._client.search_runs([place], f"tags.`{JOB}` = '{experiment.job}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {JOB: experiment.job, "flywheel.run": experiment.run}
        self._run = self._client.create_run(place, run_name=experiment.job, tags=tags).info.run_id
        settings = [Param(name, str(value)[:LONGEST_SETTING]) for name, value in experiment.settings.items()]
        self._client.log_batch(self._run, params=settings)

    def point(self, point: Point) -> None:
        from mlflow.entities import Metric

        if point.step <= self._newest_step(point):
            return
        self._known[point.split] = point.step
        when = round(point.time * 1000)
        metrics = [Metric(name, value, when, point.step) for name, value in point.values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, state: str) -> None:
        self._client.set_terminated(self._run, STATES[state])

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _newest_step(self, point: Point) -> int:
        """Of the point's split, at MLflow; -1 when there is none."""
        if point.split not in self._known:
            history = self._client.get_metric_history(self._run, next(iter(point.values)))
            self._known[point.split] = max((metric.step for metric in history), default=-1)
        return self._known[point.split]
