"""One step: gradients of its batches added up, clipped, and taken by the optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from services.finetuning.spec import FailureReason
from services.finetuning.training.distributed.team import Team
from services.finetuning.training.examples.material import Material
from services.finetuning.training.failures import TrainingFailed, is_out_of_memory
from services.finetuning.training.loop.memory import cut, forget_garbage, narrower
from services.finetuning.training.loop.schedule import batch_seed, learning_rate, momentum
from services.finetuning.training.model.optimizers import gradient_norm, step_clipped
from services.finetuning.training.model.sharding import whole
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds.base import Example
from shared.pipelines.methods import MethodConfig

NAMED_ROWS = 8
"""Rows of a failed step that its message names."""


@dataclass(frozen=True)
class StepTaken:
    """What a step did."""

    loss: float
    """Mean over the step's predictions."""
    gradient_norm: float
    """Before clipping."""
    learning_rate: float
    row_ids: list[str]
    rows: int
    tokens: int
    micro_batch: int | None
    """Rows computed at once at most, where memory ran out, here or before."""


class Stepper:
    """Takes the steps of one run."""

    def __init__(
        self,
        material: Material,
        weights: TrainedWeights,
        optimizer: Optimizer,
        config: MethodConfig,
        seed: int,
        total_steps: int,
        team: Team,
    ) -> None:
        self._team = team
        self._material, self._weights, self._optimizer = material, weights, optimizer
        self._config, self._seed, self._total_steps = config, seed, total_steps

    def take(self, step: int, batches: Sequence[Sequence[Example]], micro_batch: int | None = None) -> StepTaken:
        """Take step 0 … total_steps - 1, at most `micro_batch` rows at once, or fewer when memory runs out.

        Raises TrainingFailed (NOT_FINITE, OUT_OF_MEMORY), the weights being as before.
        """
        examples = [example for batch in batches for example in batch]
        row_ids = [row_id for example in examples for row_id in example.row_ids]
        rate = self._set_rate(step)
        loss, micro_batch = self._gradients(step, batches, sum(example.weight for example in examples), micro_batch)
        found = gradient_norm(self._weights.masters.values())
        norm = float(whole(found))
        _check_finite(step, loss, norm, row_ids)
        step_clipped(self._optimizer, self._weights.masters.values(), found, self._config.max_gradient_norm)
        self._let_method_shape(step + 1)
        self._optimizer.zero_grad()
        self._weights.publish()
        tokens = sum(example.length for example in examples)
        return StepTaken(loss, norm, rate, row_ids, len(examples), tokens, micro_batch)

    def _set_rate(self, step: int) -> float:
        rate = learning_rate(self._config, step, self._total_steps)
        pull = momentum(self._config, step, self._total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
            if pull is not None and "betas" in group:
                group["betas"] = (pull, group["betas"][1])
            elif pull is not None and "momentum" in group:
                group["momentum"] = pull
        return rate

    def _gradients(
        self, step: int, batches: Sequence[Sequence[Example]], weight: int, micro_batch: int | None
    ) -> tuple[float, int | None]:
        """Add up the gradients of the step's mean loss, which is returned with the rows that fit into memory; `weight`
        predictions share the loss."""
        while True:
            parts = cut(batches, micro_batch)
            try:
                return self._add_up(step, parts, weight), micro_batch
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Of several processes all come here, and must cut alike.
            failed = self._under_way if self._team.size == 1 else max(parts, key=len)
            micro_batch = narrower(self._material.kind, step, failed)
            self._weights.drop_gradients()
            forget_garbage()

    def _add_up(self, step: int, parts: Sequence[Sequence[Example]], weight: int) -> float:
        def backward(part: int, counts: bool) -> float:
            return self._backward(step, part, parts[part], weight, counts)

        return self._team.add_up(self._weights.masters, len(parts), backward)

    def _backward(self, step: int, part: int, examples: Sequence[Example], weight: int, counts: bool) -> float:
        self._under_way = examples
        torch.manual_seed(batch_seed(self._seed, step, part))
        kind, model = self._material.kind, self._material.model
        loss = kind.loss(model, self._material.batch(examples), self._config.label_smoothing) / weight
        penalty = self._material.method.penalty(model) if part == 0 else None
        total = loss if penalty is None else loss + penalty
        torch.autograd.backward(total if counts else total * 0)
        return float(loss.detach())

    def _let_method_shape(self, step: int) -> None:
        if self._material.method.shapes_itself:
            with self._weights.in_place():
                self._material.method.after_step(self._material.model, step)


def _check_finite(step: int, loss: float, norm: float, row_ids: Sequence[str]) -> None:
    if loss - loss == 0 and norm - norm == 0:
        return
    more = f" and {len(row_ids) - NAMED_ROWS} more" if len(row_ids) > NAMED_ROWS else ""
    some = ", ".join(row_ids[:NAMED_ROWS]) + more
    raise TrainingFailed(
        FailureReason.NOT_FINITE, f"loss {loss} with gradient norm {norm} at step {step + 1}, on rows {some}"
    )
