"""Full fine-tuning: every weight is trained."""

from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from shared.modeling.methods.whole import WholeModel
from shared.pipelines.methods import MethodConfig


class Full(WholeModel):
    name: ClassVar[str] = "full"

    def trained(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> list[nn.Module]:
        return [model]
