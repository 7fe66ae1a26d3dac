"""LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685): products of low rank beside frozen ones."""

from typing import Any, ClassVar

from peft import LoraConfig
from transformers import PreTrainedModel

from shared.modeling.methods.adapters import AdapterMethod, common_fields
from shared.modeling.methods.targets import chosen_layers, shortest_names
from shared.pipelines.methods import MethodConfig


class Lora(AdapterMethod):
    name: ClassVar[str] = "lora"
    variant: ClassVar[dict[str, Any]] = {}
    """Fields of LoraConfig that make a method of the family."""

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> LoraConfig:
        return LoraConfig(r=config.lora_rank, **low_rank_fields(model, config), **self.variant)


def low_rank_fields(model: PreTrainedModel, config: MethodConfig) -> dict[str, Any]:
    """Fields that LoraConfig and AdaLoraConfig share."""
    words, others = shortest_names(model, chosen_layers(model, config.targets))
    return {
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": words,
        "exclude_modules": others or None,
        **common_fields(model),
    }
