"""Tiny models whose sizes fit the native step, and how its tests run them."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from services.inference.engine.native.forward import NativeLlamaForward
from services.inference.engine.step import Segment, Step

SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 208,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "vocab_size": 301,
    "initializer_range": 0.1,
}
FAMILIES = ("llama", "qwen2", "qwen3", "mistral")
WINDOW = 40


def model(family: str = "llama", **changes: Any) -> Any:
    """A bfloat16 model of random weights, the same each time."""
    torch.manual_seed(0)
    sizes = SIZES | changes
    if family == "qwen2":
        sizes = sizes | {"num_attention_heads": 3, "num_key_value_heads": 1}
        made: Any = Qwen2ForCausalLM(Qwen2Config(**sizes))
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.5)
    elif family == "qwen3":
        made = Qwen3ForCausalLM(Qwen3Config(**sizes))
        for name, parameter in made.named_parameters():
            if "q_norm" in name or "k_norm" in name:
                torch.nn.init.normal_(parameter, mean=1, std=0.3)
    elif family == "mistral":
        made = MistralForCausalLM(MistralConfig(**sizes, sliding_window=WINDOW))
    else:
        made = LlamaForCausalLM(LlamaConfig(**{"tie_word_embeddings": True, **sizes}))
    return made.to(torch.bfloat16).train(False)


def tokens(count: int, seed: int = 1) -> list[int]:
    drawn: list[int] = torch.randint(0, 301, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return drawn


@torch.no_grad()
def truth(reference: Any, ids: Sequence[int]) -> torch.Tensor:
    """Logits (tokens, vocabulary) of transformers in float32, from the same bfloat16 weights."""
    logits: torch.Tensor = reference.float()(torch.tensor([list(ids)])).logits[0]
    return logits


def answer(forward: NativeLlamaForward, *segments: Segment) -> torch.Tensor:
    return forward(Step(segments, forward.cache))


def root_mean_square(difference: torch.Tensor) -> float:
    return float(difference.pow(2).mean().sqrt())
