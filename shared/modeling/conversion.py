"""GGUF files into folders that transformers loads fast: dequantised once, kept as bf16 safetensors."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write config, bf16 weights, tokenizer and generation config of a causal GGUF model into `folder`."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = AutoConfig.for_model(**_plain(loaded.config.to_dict()))
    # A model loaded from GGUF refuses to be saved, so its weights move into a fresh one.
    models: Any = AutoModelForCausalLM
    fresh = models.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict({name: value.to(torch.bfloat16) for name, value in loaded.state_dict().items()})
    stops = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    fresh.generation_config = GenerationConfig.from_dict(stops)
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The config without what only describes the GGUF file."""
    drop = {
        "quantization_config",
        "_name_or_path",
        "architectures",
        "dtype",
        "torch_dtype",
        "transformers_version",
    }
    return {key: value for key, value in config.items() if key not in drop}
