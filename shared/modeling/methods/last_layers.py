"""The last layers, the norm behind them and the new head are trained; what is below stays as it is (Howard and Ruder
2018 unfreeze from the top as well).

A model with encoder and decoder has its last layers in both. An output layer that is the base's own stays frozen.
"""

from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from shared.errors import InvalidArgument
from shared.modeling.methods.parts import final_norms, layer_stacks
from shared.modeling.methods.whole import WholeModel, heads
from shared.pipelines.methods import MethodConfig


class LastLayers(WholeModel):
    name: ClassVar[str] = "last_layers"

    def trained(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> list[nn.Module]:
        found = heads(model)
        depths = []
        for name, stack in layer_stacks(model):
            depths.append(len(stack))
            found += [*stack[-config.layers :], *final_norms(model, name)]
        if config.layers > min(depths, default=0):
            raise InvalidArgument(
                f"method.layers: {config.layers} is more than the {min(depths, default=0)} layers of the base model",
                field="method.layers",
            )
        return found
