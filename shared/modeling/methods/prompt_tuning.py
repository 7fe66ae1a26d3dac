"""Prompt tuning (Lester et al. 2021, https://arxiv.org/abs/2104.08691): embeddings before every text, which begin as
those of words."""

from typing import ClassVar

from peft import PromptTuningConfig, PromptTuningInit
from transformers import PreTrainedModel

from shared.modeling.methods.prompts import PromptMethod
from shared.pipelines.methods import MethodConfig


class PromptTuning(PromptMethod):
    name: ClassVar[str] = "prompt_tuning"

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> PromptTuningConfig:
        start = PromptTuningInit.SAMPLE_VOCAB
        return PromptTuningConfig(prompt_tuning_init=start, **self.fields(model, config))
