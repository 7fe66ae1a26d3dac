"""P-tuning (Liu et al. 2021, https://arxiv.org/abs/2103.10385): the embeddings before every text come from a small
network while it trains, which makes them learn together."""

from typing import Any, ClassVar, cast

from peft import PromptEncoderConfig
from transformers import PreTrainedModel

from shared.modeling.methods.prompts import PromptMethod
from shared.pipelines.methods import MethodConfig


class PTuning(PromptMethod):
    name: ClassVar[str] = "p_tuning"

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> PromptEncoderConfig:
        width = cast(Any, model.config).hidden_size
        return PromptEncoderConfig(encoder_hidden_size=width, **self.fields(model, config))
