"""The new head alone is trained, on what the frozen base makes of the texts (feature extraction, Devlin et al. 2019,
section 5.3)."""

from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from shared.modeling.methods.whole import WholeModel, heads, no_head
from shared.pipelines.methods import MethodConfig


class Head(WholeModel):
    name: ClassVar[str] = "head"

    def trained(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> list[nn.Module]:
        found = heads(model)
        if not found:
            raise no_head(kind)
        return found
