"""Single steps on tiny models, without a run around them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from services.finetuning.training.distributed.team import Alone
from services.finetuning.training.examples.material import Material
from services.finetuning.training.loop.step import Stepper, StepTaken
from services.finetuning.training.model.dropout import set_dropout
from services.finetuning.training.model.optimizers import make_optimizer
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds import find_kind
from shared.modeling.kinds.base import Example
from shared.modeling.loading import load_tokenizer
from shared.modeling.methods import find_method
from shared.pipelines.methods import resolve_method
from shared.pipelines.options import Options
from tests.support.tiny_models import tiny_base


@dataclass
class Steps:
    """A model without dropout that can be stepped."""

    material: Material
    weights: TrainedWeights
    stepper: Stepper
    gradients: dict[str, Tensor] = field(default_factory=dict)
    """Of the last step, after clipping."""

    @property
    def examples(self) -> Sequence[Example]:
        return self.material.train

    def take(self, *batches: Sequence[Example], step: int = 0, micro_batch: int | None = None) -> StepTaken:
        return self.stepper.take(step, batches, micro_batch)

    def values(self) -> dict[str, Tensor]:
        return {name: master.detach().clone() for name, master in self.weights.masters.items()}


def make_steps(
    folder: Path,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    method: Mapping[str, Any] | None = None,
    options: Options | None = None,
) -> Steps:
    """The same weights every time; plain gradients (SGD without schedule, rate 0.1), unless `method` says otherwise."""
    given = {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant", "warmup_ratio": 0.0}
    config = resolve_method(kind, {**given, "max_gradient_norm": 1e9, "precision": "float32", **(method or {})})
    found = find_kind(kind, options)
    base = tiny_base(folder / "base", kind)
    tokenizer = load_tokenizer(base.path)
    labels = found.learn_labels(rows)
    set_seed(0)
    model = found.load(base.path, labels)
    set_dropout(model, 0.0)
    model = find_method(config.name).prepare(model, kind, config)
    model.train()
    examples = found.encode(tokenizer, rows, labels, 64).examples
    weights = TrainedWeights(model, config.precision)
    material = Material(found, find_method(config.name), model, int(tokenizer.pad_token_id), examples, [])
    optimizer = make_optimizer(weights, config)
    made = Steps(material, weights, Stepper(material, weights, optimizer, config, 0, 10, Alone(torch.device("cpu"))))

    def note(*_: Any) -> None:
        made.gradients = {name: value.grad.clone() for name, value in weights.masters.items() if value.grad is not None}

    optimizer.register_step_pre_hook(note)
    return made
