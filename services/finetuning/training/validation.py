"""What the validation split says of the model on the way."""

from services.finetuning.training.cursor import Cursor
from services.finetuning.training.epochs import Epochs
from services.finetuning.training.events import Events
from services.finetuning.training.material import Material
from shared.pipelines.methods import MethodConfig


class Validation:
    """Scores the model at the end of every epoch, if there are rows for it."""

    def __init__(self, material: Material, config: MethodConfig, epochs: Epochs, events: Events) -> None:
        self._material, self._config, self._epochs, self._events = material, config, epochs, events

    def due(self, cursor: Cursor) -> bool:
        at_end = self._epochs.ends_after(cursor.step)
        return at_end and bool(self._material.validation) and cursor.validated_step != cursor.step

    def run(self, cursor: Cursor) -> None:
        """Score, tell and note it in the cursor."""
        material = self._material
        material.model.train(False)
        metrics = material.kind.score(material.model, material.validation, material.pad_id, self._config.batch_size)
        material.model.train()
        cursor.validated_step, cursor.metrics = cursor.step, metrics
        self._events.send("validation", step=cursor.step, loss=metrics["loss"], metrics=metrics)
