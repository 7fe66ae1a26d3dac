"""GGUF files into folders that transformers loads fast: dequantised once, kept as bf16 safetensors."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write config, bf16 weights, tokenizer and generation config of a causal GGUF model into `folder`."""
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    config = AutoConfig.for_model(**_plain(loaded.config.to_dict()))
    # A model loaded from GGUF refuses to be saved, so its weights move into a fresh one.
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    fresh.load_state_dict({name: value.to(torch.bfloat16) for name, value in loaded.state_dict().items()})
    fresh.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(config: dict[str, object]) -> dict[str, object]:
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
