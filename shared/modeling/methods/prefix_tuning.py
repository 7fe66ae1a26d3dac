"""Prefix tuning (Li and Liang 2021, https://arxiv.org/abs/2101.00190): keys and values before every text in every
layer, which begin as those of words in causal models and near zero in encoders."""

from typing import Any, ClassVar, cast

import torch
from peft import PrefixTuningConfig
from transformers import PreTrainedModel

from shared.modeling.methods.prompts import PromptMethod
from shared.modeling.methods.virtual import VirtualTokens
from shared.pipelines.architectures import Family, family_of
from shared.pipelines.methods import MethodConfig

NEAR_ZERO = 0.02


class PrefixTuning(PromptMethod):
    name: ClassVar[str] = "prefix_tuning"

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> PrefixTuningConfig:
        return PrefixTuningConfig(**self.fields(model, config))

    def prepare(self, model: PreTrainedModel, kind: str, config: MethodConfig) -> PreTrainedModel:
        prepared = super().prepare(model, kind, config)
        _start(cast(VirtualTokens, prepared))
        return prepared


@torch.no_grad()
def _start(model: VirtualTokens) -> None:
    """PEFT's own start, a normal distribution, drowns the text."""
    table = model.prefix_table
    base: Any = model.get_base_model()
    if family_of(base.config.to_dict()) is not Family.DECODER:
        torch.nn.init.normal_(table, std=NEAR_ZERO)
        return
    words = torch.randint(base.get_input_embeddings().num_embeddings, (1, model.length), device=table.device)
    layers = base.base_model(input_ids=words, use_cache=True).past_key_values.layers
    parts = torch.stack([part[0] for layer in layers for part in (layer.keys, layer.values)])
    table.copy_(parts.permute(2, 0, 1, 3).reshape(table.shape))
