"""What the validation split says of the model on the way."""

from services.finetuning.spec import FailureReason
from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.events import Events
from services.finetuning.training.examples.epochs import Epochs
from services.finetuning.training.examples.material import Material
from services.finetuning.training.failures import TrainingFailed, is_out_of_memory
from services.finetuning.training.loop.best import Best
from services.finetuning.training.loop.memory import forget_garbage
from services.finetuning.training.model.average import AverageWeights
from services.finetuning.training.model.weights import TrainedWeights
from shared.pipelines.methods import MethodConfig


class Validation:
    """Scores the model, or the average of its weights, when it is due, if there are rows for it."""

    def __init__(
        self,
        material: Material,
        config: MethodConfig,
        epochs: Epochs,
        events: Events,
        weights: TrainedWeights,
        average: AverageWeights | None,
    ) -> None:
        """Raises TrainingFailed (BAD_DATA) when something is to be decided by rows that there are not."""
        self._material, self._config, self._epochs, self._events = material, config, epochs, events
        self._weights, self._average = weights, average
        self.best = Best(material.kind, config)
        material.kind.on_scored = events.alive
        if not material.validation:
            _refuse_without_rows(config, events)

    def due(self, cursor: Cursor) -> bool:
        """After every epoch, or every so many steps and the last one."""
        if not self._material.validation or cursor.validated_step == cursor.step:
            return False
        every = self._config.validate_every_steps
        if every is None:
            return self._epochs.ends_after(cursor.step)
        return cursor.step % every == 0 or cursor.step == self._epochs.total_steps

    def run(self, cursor: Cursor) -> None:
        """Score, tell and note it in the cursor, which says then whether training ends."""
        if self._average is None:
            self._run(cursor)
        else:
            with self._average.in_place():
                self._run(cursor)

    def _run(self, cursor: Cursor) -> None:
        model = self._material.model
        model.train(False)
        metrics = None
        while metrics is None:
            metrics = self._score(cursor)
        model.train()
        cursor.validated_step, cursor.metrics = cursor.step, metrics
        self._events.send("validation", step=cursor.step, loss=metrics["loss"], metrics=metrics)
        ends = self.best.judge(cursor, self._weights)
        if ends:
            self._events.log("info", ends)

    def _score(self, cursor: Cursor) -> dict[str, float] | None:
        """None: it takes a smaller batch, which the cursor remembers."""
        material = self._material
        size = cursor.validation_batch or self._config.batch_size
        try:
            return material.kind.score(material.model, material.validation, material.pad_id, size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        forget_garbage()
        if size == 1:
            longest = max(material.validation, key=lambda example: example.length)
            raise TrainingFailed(
                FailureReason.OUT_OF_MEMORY,
                f"out of memory in the validation at step {cursor.step}, one row at a time; the longest is "
                f"{longest.row_ids[0]} with {longest.length} tokens: lower method.max_length",
            )
        cursor.validation_batch = size // 2
        self._events.log(
            "warning", f"out of memory in the validation at step {cursor.step}: {size // 2} rows at a time from now on"
        )
        return None


def _refuse_without_rows(config: MethodConfig, events: Events) -> None:
    for key, asked in (("patience", config.patience is not None), ("keep_best", config.keep_best)):
        if asked:
            raise TrainingFailed(
                FailureReason.BAD_DATA,
                f"method.{key}: goes by validation rows, and the dataset version has none; set data.splits.validation "
                "above 0, or leave it out",
            )
    if config.validate_every_steps is not None:
        events.log("warning", "method.validate_every_steps has no effect: the dataset version has no validation rows")
