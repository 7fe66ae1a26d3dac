"""What a checkpoint holds besides weights and optimizer, as one dictionary of tensors, and back."""

from collections.abc import Mapping

from torch import Tensor

from services.finetuning.training.examples.material import Material
from services.finetuning.training.loop.best import Best
from services.finetuning.training.model.average import AverageWeights

AVERAGE, BEST = "average/", "best/"


def remember(material: Material, average: AverageWeights | None, best: Best) -> dict[str, Tensor]:
    """What the method has to remember, the average of the weights, and the best of them."""
    found = dict(material.method.state(material.model))
    if average is not None:
        found |= {AVERAGE + name: value for name, value in average.state().items()}
    return found | {BEST + name: value for name, value in best.weights.items()}


def recall(remembered: Mapping[str, Tensor], material: Material, average: AverageWeights | None, best: Best) -> None:
    """Give each what `remember` took from it."""
    if average is not None:
        average.restore(_under(AVERAGE, remembered))
    best.restore(_under(BEST, remembered))
    rest = {name: value for name, value in remembered.items() if not name.startswith((AVERAGE, BEST))}
    material.method.restore(material.model, rest)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
