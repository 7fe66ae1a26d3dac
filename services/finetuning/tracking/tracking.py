"""Following a run for TensorBoard always, and for MLflow or Weights & Biases where the setting `tracking` names one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from services.finetuning.attempts import Attempt
from services.finetuning.convert import Setting
from services.finetuning.records import Event
from services.finetuning.tracking.background import Background
from services.finetuning.tracking.mlflow import MLflow
from services.finetuning.tracking.tensorboard import TensorBoard
from services.finetuning.tracking.tracker import Experiment, Point, Tracker
from services.finetuning.tracking.wandb import WeightsAndBiases
from services.finetuning.watch import JobWatch
from services.finetuning.workplace import Workplace
from shared.config import Settings
from shared.errors import FlywheelError, LeaseLost
from shared.storage.artifacts import Artifacts
from shared.telemetry.logs import get_logger

FOLDER = "tensorboard"
STATES = {"finished": "succeeded", "stopped": "drained", "failed": "failed"}
"""How a training process ended -> what trackers are told."""

log = get_logger(__name__)


class Tracking:
    """Tells trackers what a training process says. None of them can end a run: one that fails is left out from then on."""

    def __init__(self, experiment: Experiment, board: TensorBoard, others: Sequence[Tracker] = ()) -> None:
        self._experiment, self._board = experiment, board
        self._trackers: list[Tracker] = [board, *others]
        self._begun = False

    def event(self, event: Event) -> None:
        match event.get("event"):
            case "started":
                facts: dict[str, Any] = {name: event[name] for name in ("rows", "tokens", "precision") if name in event}
                self._experiment = _with(self._experiment, facts)
                self._begun = True
                self._tell(lambda tracker: tracker.begin(self._experiment))
            case "curve" if self._begun:
                for point in _points(event):
                    self._tell(lambda tracker, point=point: tracker.point(point))  # type: ignore[misc]

    def close(self, ended: str, artifacts: Artifacts, watch: JobWatch) -> None:
        """The run has finished, stopped or failed; its TensorBoard files are kept with the job.

        Once the job is another worker's, neither it nor its files are touched.
        """
        try:
            watch.check()
        except LeaseLost:
            return
        if self._begun:
            state = "cancelled" if watch.cancel else STATES[ended]
            self._tell(lambda tracker: tracker.end(state))
            self._store(artifacts)

    def _store(self, artifacts: Artifacts) -> None:
        uri = f"runs/{self._experiment.pipeline}/{self._experiment.job}/{FOLDER}"
        try:
            self._board.store(artifacts, uri)
        except (FlywheelError, OSError) as error:
            log.warning("the TensorBoard files were not stored", uri=uri, error=str(error))

    def _tell(self, say: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                say(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                log.warning("an experiment tracker is given up", tracker=type(tracker).__name__, error=str(error))


def open_tracking(settings: Settings, attempt: Attempt, place: Workplace) -> Tracking:
    """The trackers of one attempt at a job. A tracker that is not installed is told in the log."""
    job = attempt.job
    given = dict(flat({**job.spec, "dataset_version": job.dataset_version}))
    experiment = Experiment(job.pipeline, job.id, attempt.run, attempt.lease.attempt, given)
    return Tracking(experiment, TensorBoard(place.folder / FOLDER), _others(settings))


def _others(settings: Settings) -> list[Tracker]:
    """They are imported in their own threads: that alone takes seconds."""
    if not settings.tracking:
        return []
    if find_spec(settings.tracking) is None:
        advice = f"pip install 'flywheel[{settings.tracking}]'"
        log.warning("an experiment tracker is not installed", tracker=settings.tracking, advice=advice)
        return []
    tracker = MLflow() if settings.tracking == "mlflow" else WeightsAndBiases(settings.home)
    return [Background(settings.tracking, tracker)]


def flat(given: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Nested settings by dotted name; those that are not set are left out, lists become text."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value if isinstance(value, str | bool | int | float) else str(value)


def _points(event: Event) -> Iterator[Point]:
    restored = bool(event.get("restored"))
    for step, time, values in event["points"]:
        yield Point(int(step), float(time), values, restored)


def _with(experiment: Experiment, facts: Mapping[str, Any]) -> Experiment:
    return replace(experiment, settings={**experiment.settings, **dict(flat(facts, "data."))})
