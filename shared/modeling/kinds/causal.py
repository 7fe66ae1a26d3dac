"""Loading causal models."""

from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from shared.errors import InvalidArgument


def reads_both_ways(config: PretrainedConfig) -> bool:
    """Whether it is an encoder's configuration."""
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False)


def load_causal(folder: Path) -> PreTrainedModel:
    """The float32 model. Raises InvalidArgument when the folder has an encoder, lacks weights, or contradicts itself."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if reads_both_ways(config):
        # Such a class can be had with a causal head, but would see the words that it is to guess.
        raise InvalidArgument(
            f"base model {folder.name} is no causal model: {config.model_type} reads both ways", field="base"
        )
    models: Any = AutoModelForCausalLM
    try:
        model, report = models.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise InvalidArgument(
            f"base model {folder.name} is no causal model but {config.model_type}", field="base"
        ) from None
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise InvalidArgument(
            f"base model {folder.name}: {name} is {tuple(found)}, its config says {tuple(wanted)}", field="base"
        )
    if missing := sorted(report["missing_keys"]):
        raise InvalidArgument(f"base model {folder.name} is no causal model: it lacks {missing[0]}", field="base")
    return cast(PreTrainedModel, model)
