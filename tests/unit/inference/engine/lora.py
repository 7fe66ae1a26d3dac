"""LoRA adapters with random weights on the tiny models, made by PEFT."""

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from services.inference.engine.adapters import Adapter, adaptable, read_adapter
from tests.unit.inference.engine.tiny import tiny


def lora(folder: Path, family: str = "llama", seed: int = 1, **options: Any) -> Any:
    """Writes an adapter of every linear product (unless told otherwise); returns the model with it."""
    wanted: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = get_peft_model(tiny(family), LoraConfig(task_type="CAUSAL_LM", **wanted))
        torch.manual_seed(seed)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
    return model.train(False)


def read(folder: Path, digest: str, family: str = "llama") -> Adapter:
    return read_adapter(folder, digest, adaptable(tiny(family)), torch.float32)
