"""Methods whose model folder holds a whole model."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.methods.base import Method
from shared.modeling.methods.parts import head_names
from shared.pipelines.methods import MethodConfig


class WholeModel(Method):
    """Trains weights of the model itself."""

    adapter: ClassVar[bool] = False

    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        trained = self.trained(model, kind, config)
        model.requires_grad_(False)
        for module in trained:
            module.requires_grad_(True)
        return model

    @abstractmethod
    def trained(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> list[nn.Module]:
        """The modules that are trained. Raises InvalidArgument when there are none."""

    def save(self, model: PreTrainedModel, folder: Path, base: str) -> None:
        model.save_pretrained(folder)


def heads(model: PreTrainedModel) -> list[nn.Module]:
    """The modules of the new head."""
    return [model.get_submodule(name) for name in head_names(model)]


def no_head(kind: str) -> InvalidArgument:
    return InvalidArgument(f"method.name: kind {kind} has no new head that could be trained alone", field="method.name")
