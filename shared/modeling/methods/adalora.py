"""AdaLoRA (Zhang et al. 2023, https://arxiv.org/abs/2303.10512): LoRA as a singular value decomposition, whose least
important ranks are taken away while it trains, wherever in the model they are."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from peft import AdaLoraConfig
from torch import Tensor
from transformers import PreTrainedModel

from shared.modeling.methods.adapters import AdapterMethod
from shared.modeling.methods.lora import low_rank_fields
from shared.pipelines.methods import MethodConfig

STILL, SETTLED = 0.1, 0.25
"""Shares of all steps before the first rank goes and after the last one has gone."""
AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
PATTERN = "rank_pattern"


class AdaLora(AdapterMethod):
    name: ClassVar[str] = "adalora"
    shapes_itself: ClassVar[bool] = True

    def configure(self, model: PreTrainedModel, config: MethodConfig) -> AdaLoraConfig:
        return AdaLoraConfig(
            init_r=config.initial_rank, target_r=config.lora_rank, total_step=1, **low_rank_fields(model, config)
        )

    def begin(self, model: PreTrainedModel, total_steps: int) -> None:
        config = _config(model)
        config.total_step = total_steps
        config.tinit = int(STILL * total_steps)
        config.tfinal = min(int(SETTLED * total_steps), total_steps - config.tinit - 1)

    def penalty(self, model: PreTrainedModel) -> Tensor | None:
        """Both factors of each product are kept orthogonal (equation 4), by the mean of their distances."""
        distances = []
        for name, factor in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                products = factor @ factor.T if "lora_A" in name else factor.T @ factor
                identity = torch.eye(len(products), dtype=products.dtype, device=products.device)
                distances.append(torch.linalg.matrix_norm((products - identity).float()))
        weight: float = _config(model).orth_reg_weight
        return weight * torch.stack(distances).mean()

    def after_step(self, model: PreTrainedModel, step: int) -> None:
        if _config(model).total_step > 1:  # one step alone says nothing about importance
            cast(Any, model).base_model.update_and_allocate(step)

    def state(self, model: PreTrainedModel) -> dict[str, Tensor]:
        allocator, pattern = cast(Any, model).base_model.rankallocator, _config(model).rank_pattern or {}
        averages = {f"{kept}/{name}": value for kept in AVERAGES for name, value in getattr(allocator, kept).items()}
        return averages | {f"{PATTERN}/{name}": torch.tensor(kept) for name, kept in pattern.items()}

    def restore(self, model: PreTrainedModel, state: Mapping[str, Tensor]) -> None:
        allocator = cast(Any, model).base_model.rankallocator
        device = cast(Any, model).device
        for key, value in state.items():
            what, _, name = key.partition("/")
            if what != PATTERN:
                getattr(allocator, what)[name] = value.clone().to(device)
        pattern = {
            key.partition("/")[2]: value.tolist() for key, value in state.items() if key.startswith(f"{PATTERN}/")
        }
        _config(model).rank_pattern = pattern or None


def _config(model: PreTrainedModel) -> Any:
    return cast(Any, model).peft_config["default"]
