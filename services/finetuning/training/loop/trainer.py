"""The training loop: validate when due, step, checkpoint when due, stop when asked.

What a step does is `step.py`, of which examples it is made `epochs.py`, what validation says `validation.py`.
"""

from enum import Enum

from services.finetuning.spec import TrainingSpec
from services.finetuning.training.checkpointing.checkpoints import Checkpoints
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.checkpointing.rowlog import RowLog
from services.finetuning.training.distributed.followers import UnwrittenLog
from services.finetuning.training.distributed.team import Team
from services.finetuning.training.events import Events
from services.finetuning.training.examples.epochs import Epochs
from services.finetuning.training.examples.material import Material
from services.finetuning.training.loop.budget import Budget
from services.finetuning.training.loop.progress import Pace
from services.finetuning.training.loop.remembering import recall, remember
from services.finetuning.training.loop.saving import SavingTimes
from services.finetuning.training.loop.step import Stepper, StepTaken
from services.finetuning.training.loop.validation import Validation
from services.finetuning.training.model.average import AverageWeights
from services.finetuning.training.model.optimizers import make_optimizer
from services.finetuning.training.model.weights import TrainedWeights
from services.finetuning.training.reporting.curve import Curve
from services.finetuning.training.stopping import StopRequest


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
        team: Team,
    ) -> None:
        self.spec, self.material, self.weights, self.team = spec, material, weights, team
        self.checkpoints, self.events, self.stop = checkpoints, events, stop
        self.optimizer = make_optimizer(weights, spec.method)
        self.epochs = Epochs(material.train, spec.method, spec.seed, spec.dataset.digest, material.of_epoch)
        self.total_steps = self.epochs.total_steps
        material.method.begin(material.model, self.total_steps)
        self.stepper = Stepper(material, weights, self.optimizer, spec.method, spec.seed, self.total_steps, team)
        decay = spec.method.ema_decay
        self.average = None if decay is None else AverageWeights(weights, decay)
        self.validation = Validation(material, spec.method, self.epochs, events, weights, self.average)
        self.cursor = Cursor()

    def resume(self) -> None:
        """Continue from the newest good checkpoint, if there is one. Raises TrainingFailed (BAD_SPEC)."""
        with self.team.leader_first():
            found = self.checkpoints.resume(self.weights, self.optimizer, self.events)
        if found is not None:
            self.cursor, remembered = found
            recall(remembered, self.material, self.average, self.validation.best)
        self.team.check_start(self.cursor.step, self.weights.masters)

    def run(self) -> Ending:
        """Train on from `cursor`. Raises TrainingFailed (NOT_FINITE, BUDGET) or what the machine raises."""
        leads = self.team.leads
        self.row_log = RowLog(self.spec.work_dir, self.cursor.rows_log_bytes) if leads else UnwrittenLog()
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
            if self.cursor.step == self.total_steps or self.cursor.ended_early:
                self._choose_weights()
                return Ending.FINISHED
            if self.team.agree(self.stop.wanted or self.events.closed):
                self._checkpoint()
                return Ending.DRAINED
            if self.team.agree(self.budget.used_up(self.cursor.step)):
                self._checkpoint()
                raise self.budget.failure(self.cursor.step, self.total_steps)
            self._step()
            if self.cursor.step < self.total_steps and self.team.agree(self.saving.due(self.cursor.step)):
                self._checkpoint()

    def _step(self) -> None:
        step = self.cursor.step
        taken = self.stepper.take(step, self.epochs.batches(step), self.cursor.micro_batch)
        self.cursor.step = step + 1
        if self.average is not None:
            self.average.update(step + 1)
        if taken.micro_batch != self.cursor.micro_batch:
            self.cursor.micro_batch = taken.micro_batch
            self.events.log(
                "warning",
                f"out of memory at step {step + 1}: {taken.micro_batch} rows at a time from now on, whose gradients "
                "are added up to those of the same batches",
            )
        self.row_log.append(step + 1, taken.row_ids)
        self._tell(taken)

    def _choose_weights(self) -> None:
        """What is kept: the weights of the best validation, the average, or the last ones."""
        if self.validation.best.weights:
            self.validation.best.bring_back(self.cursor, self.weights)
        elif self.average is not None:
            self.average.swap()

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
            **({} if taken.micro_batch is None else {"micro_batch": taken.micro_batch}),
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
        remembered = remember(self.material, self.average, self.validation.best)
        saved = self.checkpoints.save(self.cursor, self.weights, self.optimizer, remembered)
        self.saving.saved(self.cursor.step)
        self.events.send(
            "checkpoint", step=self.cursor.step, path=saved.path, digest=saved.digest, seconds=saved.seconds
        )
        self.pace.restart()
