"""A tiny random model that every engine can load: heads of 32, as vLLM's attention on a CPU wants them."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.unit.inference.engine.tiny import byte_tokenizer

EOS = 257
MAX_LENGTH = 1024
VOCABULARY = 258


def make_model() -> Any:
    torch.manual_seed(7)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        vocab_size=VOCABULARY,
        bos_token_id=256,
        eos_token_id=EOS,
        pad_token_id=EOS,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).train(False)


def save_model(folder: Path) -> tuple[Any, PreTrainedTokenizerFast]:
    """The model and its tokenizer, and both as files."""
    model, tokenizer = make_model(), byte_tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def generate(model: Any, prompt: tuple[int, ...], tokens: int) -> list[int]:
    """What transformers' `generate` writes greedily, never ending early."""
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        found = model.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=EOS
        )
    answer: list[int] = found[0, len(prompt) :].tolist()
    return answer
