"""The training loop: validate when due, step, checkpoint when due, stop when asked.

What a step does is `step.py`, of which examples it is made `epochs.py`, what validation says `validation.py`.
"""

from enum import Enum

from services.finetuning.spec import TrainingSpec
from services.finetuning.training.budget import Budget
from services.finetuning.training.checkpoints import Checkpoints
from services.finetuning.training.cursor import Cursor
from services.finetuning.training.curve import Curve
from services.finetuning.training.epochs import Epochs
from services.finetuning.training.events import Events
from services.finetuning.training.material import Material
from services.finetuning.training.optimizers import make_optimizer
from services.finetuning.training.progress import Pace
from services.finetuning.training.rowlog import RowLog
from services.finetuning.training.saving import SavingTimes
from services.finetuning.training.step import Stepper, StepTaken
from services.finetuning.training.stopping import StopRequest
from services.finetuning.training.validation import Validation
from services.finetuning.training.weights import TrainedWeights


class Ending(Enum):
    FINISHED = "finished"
    DRAINED = "drained"


class Trainer:
    """One run, from a cursor to its end or an early stop."""

    def __init__(
        self,
        spec: TrainingSpec,
        material: Material,
        weights: TrainedWeights,
        checkpoints: Checkpoints,
        events: Events,
        stop: StopRequest,
    ) -> None:
        self.spec, self.material, self.weights = spec, material, weights
        self.checkpoints, self.events, self.stop = checkpoints, events, stop
        self.optimizer = make_optimizer(weights, spec.method)
        self.epochs = Epochs(material.train, spec.method, spec.seed, spec.dataset.digest, material.of_epoch)
        self.total_steps = self.epochs.total_steps
        material.method.begin(material.model, self.total_steps)
        self.stepper = Stepper(material, weights, self.optimizer, spec.method, spec.seed, self.total_steps)
        self.validation = Validation(material, spec.method, self.epochs, events)
        self.cursor = Cursor()

    def resume(self) -> None:
        """Continue from the newest good checkpoint, if there is one. Raises TrainingFailed (BAD_SPEC)."""
        found = self.checkpoints.resume(self.weights, self.optimizer, self.events)
        if found is not None:
            self.cursor, remembered = found
            self.material.method.restore(self.material.model, remembered)

    def run(self) -> Ending:
        """Train on from `cursor`. Raises TrainingFailed (NOT_FINITE, BUDGET) or what the machine raises."""
        self.row_log = RowLog(self.spec.work_dir, self.cursor.rows_log_bytes)
        self.pace, self.budget = Pace(), Budget(self.spec, self.cursor)
        self.saving = SavingTimes(self.spec, self.cursor.step)
        self.curve = Curve(self.events, self.total_steps, self.cursor.curve)
        try:
            return self._loop()
        finally:
            self.curve.tell()
            self.row_log.close()

    def _loop(self) -> Ending:
        self.material.model.train()
        while True:
            if self.validation.due(self.cursor):
                self.validation.run(self.cursor)
                self.curve.validated(self.cursor.step, self.cursor.metrics)
                self.pace.restart()
            if self.cursor.step == self.total_steps:
                return Ending.FINISHED
            if self.stop.wanted or self.events.closed:
                self._checkpoint()
                return Ending.DRAINED
            if self.budget.used_up(self.cursor.step):
                self._checkpoint()
                raise self.budget.failure(self.cursor.step, self.total_steps)
            self._step()
            if self.cursor.step < self.total_steps and self.saving.due(self.cursor.step):
                self._checkpoint()

    def _step(self) -> None:
        step = self.cursor.step
        taken = self.stepper.take(step, self.epochs.batches(step))
        self.cursor.step = step + 1
        self.row_log.append(step + 1, taken.row_ids)
        self._tell(taken)

    def _tell(self, taken: StepTaken) -> None:
        self.pace.step(taken.rows, taken.tokens)
        step = self.cursor.step
        rates = self.pace.rates(self.total_steps - step)
        self.events.progress(
            last=step == self.total_steps,
            step=step,
            total_steps=self.total_steps,
            epoch=self.epochs.passed(step),
            loss=taken.loss,
            learning_rate=taken.learning_rate,
            gradient_norm=taken.gradient_norm,
            seconds=round(self.budget.seconds, 3),
            **rates,
        )
        self.curve.step(
            step,
            taken.loss,
            learning_rate=taken.learning_rate,
            gradient_norm=taken.gradient_norm,
            tokens_per_second=rates["tokens_per_second"],
        )

    def _checkpoint(self) -> None:
        if self.cursor.step == self.saving.step:
            return
        self.cursor.seconds = self.budget.seconds
        self.cursor.rows_log_bytes = self.row_log.settle()
        self.cursor.curve = self.curve.state()
        remembered = self.material.method.state(self.material.model)
        saved = self.checkpoints.save(self.cursor, self.weights, self.optimizer, remembered)
        self.saving.saved(self.cursor.step)
        self.events.send(
            "checkpoint", step=self.cursor.step, path=saved.path, digest=saved.digest, seconds=saved.seconds
        )
        self.pace.restart()
