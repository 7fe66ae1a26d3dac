"""Gradient checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174): of a layer only its input is kept, and
the layer is computed again, with the same random numbers, when its gradient is wanted."""

from typing import Any

from transformers import PreTrainedModel

from services.finetuning.spec import FailureReason
from services.finetuning.training.failures import TrainingFailed


def recompute_layers(model: PreTrainedModel) -> None:
    """Raises TrainingFailed (BAD_SPEC) for an architecture that does not offer it."""
    typed: Any = model
    if not typed.supports_gradient_checkpointing:
        raise TrainingFailed(
            FailureReason.BAD_SPEC,
            f"method.gradient_checkpointing: {type(model).__name__} can't compute its layers twice; leave it off",
        )
    typed.activation_checkpointing_enable({"use_reentrant": False})
