"""The training loop: validate at the end of an epoch, step, checkpoint when due, stop when asked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from transformers import PreTrainedModel

from services.finetuning.spec import FailureReason, TrainingSpec
from services.finetuning.training.checkpoints import Checkpoints, Cursor
from services.finetuning.training.events import Events
from services.finetuning.training.failures import TrainingFailed
from services.finetuning.training.order import batches_per_epoch, epoch_batches
from services.finetuning.training.progress import Pace
from services.finetuning.training.rowlog import RowLog
from services.finetuning.training.schedule import batch_seed, learning_rate
from services.finetuning.training.stopping import StopRequest
from services.finetuning.training.weights import TrainedWeights
from shared.modeling.kinds.base import Example, Kind
from shared.modeling.methods.base import Method


class Ending(Enum):
    FINISHED = "finished"
    DRAINED = "drained"


@dataclass(frozen=True)
class Material:
    """What a run trains and on what."""

    kind: Kind
    method: Method
    model: PreTrainedModel
    pad_id: int
    train: Sequence[Example]
    validation: Sequence[Example]


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
        self.method = spec.method
        self.optimizer = weights.optimizer(spec.method)
        self.lengths = [example.length for example in material.train]
        batches = batches_per_epoch(len(material.train), self.method.batch_size)
        self.steps_per_epoch = -(-batches // self.method.gradient_accumulation)
        self.total_steps = self.steps_per_epoch * self.method.epochs
        material.method.begin(material.model, self.total_steps)
        self.cursor = Cursor()
        self._epoch_batches: tuple[int, list[list[int]]] = (-1, [])

    def run(self) -> Ending:
        """Train on from `cursor`. Raises TrainingFailed (NOT_FINITE, BUDGET) or what the machine raises."""
        self.row_log = RowLog(self.spec.work_dir, self.cursor.rows_log_bytes)
        self.pace = Pace()
        self._saved_step, self._saved_at = self.cursor.step, time.monotonic()
        self._earlier_seconds, self._started_at = self.cursor.seconds, time.monotonic()
        try:
            return self._loop()
        finally:
            self.row_log.close()

    def _loop(self) -> Ending:
        self.material.model.train()
        while True:
            if self._validation_due():
                self._validate()
            if self.cursor.step == self.total_steps:
                return Ending.FINISHED
            if self.stop.wanted or self.events.closed:
                self._checkpoint()
                return Ending.DRAINED
            self._within_budget()
            self._step()
            if self._checkpoint_due():
                self._checkpoint()

    def _step(self) -> None:
        step = self.cursor.step
        groups = self._groups(step)
        rows = [row for group in groups for row in group]
        weight = sum(self.material.train[row].weight for row in rows)
        rate = learning_rate(self.method, step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = sum(self._backward(step, part, group, weight) for part, group in enumerate(groups))
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights.masters.values(), self.method.max_gradient_norm))
        row_ids = [row_id for row in rows for row_id in self.material.train[row].row_ids]
        self._check_finite(loss, norm, row_ids)
        self.optimizer.step()
        self._let_method_shape(step + 1)
        self.optimizer.zero_grad()
        self.weights.publish()
        self.cursor.step = step + 1
        self.row_log.append(step + 1, row_ids)
        self._report(loss, norm, rate, rows)

    def _backward(self, step: int, part: int, rows: list[int], weight: int) -> float:
        """Add a batch's share of the gradient; its share of the step's mean loss."""
        torch.manual_seed(batch_seed(self.spec.seed, step, part))
        kind, model = self.material.kind, self.material.model
        batch = kind.collate([self.material.train[row] for row in rows], self.material.pad_id)
        on_device = {name: value.to(model.device) for name, value in batch.items()}
        loss = kind.loss(model, on_device, self.method.label_smoothing) / weight
        penalty = self.material.method.penalty(model) if part == 0 else None
        torch.autograd.backward(loss if penalty is None else loss + penalty)
        self.weights.collect_gradients()
        return float(loss.detach())

    def _let_method_shape(self, step: int) -> None:
        if self.material.method.shapes_itself:
            with self.weights.in_place():
                self.material.method.after_step(self.material.model, step)

    def _groups(self, step: int) -> list[list[int]]:
        """The batches whose gradients make up a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._epoch_batches[0] != epoch:
            order = epoch_batches(self.lengths, self.method.batch_size, self.spec.seed, epoch, self.spec.dataset.digest)
            self._epoch_batches = (epoch, order)
        width = self.method.gradient_accumulation
        return self._epoch_batches[1][within * width : (within + 1) * width]

    def _check_finite(self, loss: float, norm: float, row_ids: list[str]) -> None:
        if loss - loss == 0 and norm - norm == 0:
            return
        some = ", ".join(row_ids[:8]) + (f" and {len(row_ids) - 8} more" if len(row_ids) > 8 else "")
        raise TrainingFailed(
            FailureReason.NOT_FINITE,
            f"loss {loss} with gradient norm {norm} at step {self.cursor.step + 1}, on rows {some}",
        )

    def _report(self, loss: float, norm: float, rate: float, rows: list[int]) -> None:
        self.pace.step(len(rows), sum(self.lengths[row] for row in rows))
        step = self.cursor.step
        self.events.progress(
            last=step == self.total_steps,
            step=step,
            total_steps=self.total_steps,
            epoch=round(step / self.steps_per_epoch, 3),
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            **self.pace.rates(self.total_steps - step),
        )

    def _validation_due(self) -> bool:
        step = self.cursor.step
        at_end = step > 0 and step % self.steps_per_epoch == 0
        return at_end and bool(self.material.validation) and self.cursor.validated_step != step

    def _validate(self) -> None:
        material = self.material
        material.model.train(False)
        metrics = material.kind.score(material.model, material.validation, material.pad_id, self.method.batch_size)
        material.model.train()
        self.cursor.validated_step, self.cursor.metrics = self.cursor.step, metrics
        self.events.send("validation", step=self.cursor.step, loss=metrics["loss"], metrics=metrics)
        self.pace.restart()

    def _checkpoint_due(self) -> bool:
        if self.cursor.step == self.total_steps:
            return False
        steps, seconds = self.spec.checkpoint_every_steps, self.spec.checkpoint_every_seconds
        if steps is not None and self.cursor.step - self._saved_step >= steps:
            return True
        return seconds is not None and time.monotonic() - self._saved_at >= seconds

    def _checkpoint(self) -> None:
        if self.cursor.step == self._saved_step:
            return
        self.cursor.seconds = self.seconds
        self.cursor.rows_log_bytes = self.row_log.settle()
        remembered = self.material.method.state(self.material.model)
        saved = self.checkpoints.save(self.cursor, self.weights, self.optimizer, remembered)
        self._saved_step, self._saved_at = self.cursor.step, time.monotonic()
        self.events.send(
            "checkpoint", step=self.cursor.step, path=saved.path, digest=saved.digest, seconds=saved.seconds
        )
        self.pace.restart()

    @property
    def seconds(self) -> float:
        """Time spent training so far, over all attempts that left a checkpoint."""
        return self._earlier_seconds + time.monotonic() - self._started_at

    def _within_budget(self) -> None:
        budget = self.spec.budget_seconds
        if budget is not None and self.seconds > budget:
            self._checkpoint()
            raise TrainingFailed(
                FailureReason.BUDGET,
                f"budget of {budget:g} s used up at step {self.cursor.step} of {self.total_steps}",
            )
