"""What every method gives to training and loading."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from shared.pipelines.architectures import read_architecture
from shared.pipelines.methods import VIRTUAL, MethodConfig


class Method(ABC):
    """One way to adapt a model. What is asked of a method while it trains does nothing for most of them."""

    name: ClassVar[str]
    adapter: ClassVar[bool]
    """Whether a model folder holds an adapter that needs its base."""
    shapes_itself: ClassVar[bool] = False
    """Whether `after_step` changes what is trained, beside the optimizer."""

    @abstractmethod
    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        """Mark what is trained (`requires_grad`), adding it first where need be. The result computes the loss.

        Raises InvalidArgument when the model can't be adapted that way.
        """

    @abstractmethod
    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        """Write what was trained as safetensors, in the form `from_pretrained` (or PEFT) reads."""

    def attach(self, model: PreTrainedModel, folder: Path, merge: bool) -> PreTrainedModel:
        """The base `model` (changed in place) with the adapter of `folder` on it, merged into its weights where asked
        for and possible.

        Raises DataCorrupted when the adapter's tensors are not exactly those that its configuration asks for.
        """
        raise AssertionError(f"{self.name} is no adapter")

    def take_over(self, model: PreTrainedModel, folder: Path) -> None:
        """Give a prepared model the adapter of an earlier version, to be trained on.

        Raises DataCorrupted, having changed nothing, when its tensors are not exactly the prepared adapter's.
        """
        raise AssertionError(f"{self.name} is no adapter")

    def begin(self, model: PreTrainedModel, total_steps: int) -> None:  # noqa: B027
        """How many steps there will be; before the first one, and before `restore`."""

    def penalty(self, model: PreTrainedModel) -> Tensor | None:
        """What a step's loss gets on top, float scalar."""
        return None

    def after_step(self, model: PreTrainedModel, step: int) -> None:  # noqa: B027
        """After the optimizer's step number `step` (from 1), gradients still there, on float32 weights."""

    def state(self, model: PreTrainedModel) -> dict[str, Tensor]:
        """What a checkpoint must hold besides weights and optimizer."""
        return {}

    def restore(self, model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        assert not state


def text_limit(config: MethodConfig, limit: int, model: PreTrainedModel) -> int:
    """Tokens a text may have where at most `limit` are wanted: virtual tokens take some of the model's positions."""
    positions = read_architecture(model.config.to_dict()).positions
    return limit if config.name not in VIRTUAL or not positions else min(limit, positions - config.virtual_tokens)
