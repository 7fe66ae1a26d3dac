"""How much each label counts in the loss, for labels of which there are few."""

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from services.finetuning.spec import FailureReason
from services.finetuning.training.failures import TrainingFailed
from shared.modeling.kinds.base import IGNORED, Example

Setting = str | Mapping[str, float]


def class_weights(
    setting: Setting, labels: Sequence[str], examples: Sequence[Example], multi_label: bool
) -> Tensor | None:
    """Weights of shape (labels,), float32; None: all count alike.

    Where a prediction has one label they are scaled so that the predictions of the train split count 1 on average, and
    the loss keeps its size. With `multi_label` they say how much a label's presence counts against its absence, which
    counts 1. Raises TrainingFailed (BAD_SPEC) naming a label that there is not.
    """
    if setting == "none":
        return None
    counts = Counter(target for example in examples for target in example.targets if target != IGNORED)
    found = [counts[index] for index in range(len(labels))]
    if isinstance(setting, Mapping):
        weights = _given(setting, labels)
    elif multi_label:
        weights = [(len(examples) - count) / count if 0 < count < len(examples) else 1.0 for count in found]
    else:
        weights = [1 / count if count else 1.0 for count in found]
    if not multi_label:
        mean = sum(weight * count for weight, count in zip(weights, found, strict=True)) / sum(found)
        weights = [weight / mean for weight in weights]
    return torch.tensor(weights)


def _given(setting: Mapping[str, float], labels: Sequence[str]) -> list[float]:
    """By label; those of entities are meant for both their tags."""
    entities = {label.removeprefix("B-").removeprefix("I-") for label in labels}
    for name in setting:
        if name not in entities.union(labels):
            known = ", ".join(sorted(entities))
            raise TrainingFailed(
                FailureReason.BAD_SPEC, f"method.class_weights: there is no label {name!r}; there are {known}"
            )
    return [setting.get(label, setting.get(label.removeprefix("B-").removeprefix("I-"), 1.0)) for label in labels]
