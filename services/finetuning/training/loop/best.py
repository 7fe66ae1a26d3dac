"""Which validation was the best, what the weights were then, and when to wait for a better one no longer."""

import math
from collections.abc import Mapping

from torch import Tensor

from services.finetuning.training.checkpointing.cursor import Cursor
from services.finetuning.training.model.sharding import whole
from services.finetuning.training.model.weights import TrainedWeights
from shared.modeling.kinds.base import Kind
from shared.pipelines.kinds import METRICS, PRIMARY
from shared.pipelines.methods import MethodConfig


def steering_metric(kind: Kind) -> str:
    """The kind's first metric where a validation gives it, else the loss."""
    primary = PRIMARY[kind.name]
    return primary if primary in kind.metrics else "loss"


class Best:
    """Compares validations; `weights` are copies in memory of those at the best one, empty where they are not kept."""

    def __init__(self, kind: Kind, config: MethodConfig) -> None:
        self._metric, self._config = steering_metric(kind), config
        self._sign = 1.0 if METRICS[kind.name][self._metric] == "higher" else -1.0
        self.weights: dict[str, Tensor] = {}

    def judge(self, cursor: Cursor, weights: TrainedWeights) -> str | None:
        """Note in the cursor how its last validation compares; says why training ends now, if it does."""
        score = self._sign * cursor.metrics[self._metric]
        if not math.isnan(score) and (cursor.best_score is None or score > cursor.best_score):
            cursor.best_score, cursor.best_step, cursor.best_metrics = score, cursor.step, cursor.metrics
            cursor.validations_since_best = 0
            self._keep(weights)
            return None
        cursor.validations_since_best += 1
        if self._config.patience is None or cursor.validations_since_best < self._config.patience:
            return None
        cursor.ended_early = True
        best = "none" if cursor.best_score is None else f"{self._sign * cursor.best_score:g} at step {cursor.best_step}"
        return (
            f"training ends at step {cursor.step}: no better {self._metric} in "
            f"{cursor.validations_since_best} validations (best: {best})"
        )

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take the copies from a checkpoint."""
        self.weights = {name: value.clone() for name, value in values.items()}

    def bring_back(self, cursor: Cursor, weights: TrainedWeights) -> None:
        """Make the best weights those of the model, and their metrics the run's, at its end."""
        if self.weights:
            weights.restore(self.weights)
            cursor.metrics = cursor.best_metrics

    def _keep(self, weights: TrainedWeights) -> None:
        if self._config.keeps_best:
            self.weights = {name: whole(value.detach()).cpu().clone() for name, value in weights.masters.items()}
