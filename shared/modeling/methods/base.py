"""What every method gives to training and loading."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from transformers import PreTrainedModel

from shared.pipelines.methods import MethodConfig


class Method(ABC):
    """One way to adapt a model."""

    name: ClassVar[str]
    adapter: ClassVar[bool]
    """Whether a model folder holds an adapter that needs its base."""

    @abstractmethod
    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        """Mark what is trained (`requires_grad`), adding it first where need be. The result computes the loss."""

    @abstractmethod
    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        """Write what was trained as safetensors, in the form `from_pretrained` (or PEFT) reads."""
