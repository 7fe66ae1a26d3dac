"""From a packed step to logits, with any transformers causal language model."""

from typing import Any, Protocol

import torch
from transformers import AttentionInterface, PreTrainedModel

from services.inference.engine.cache import PagedCache
from services.inference.engine.step import Step

ATTENTION = "flywheel_pages"


class Forward(Protocol):
    """Runs a step over its own cache; returns float32 logits of shape (wanted tokens, vocabulary)."""

    cache: PagedCache
    vocabulary: int

    def __call__(self, step: Step) -> torch.Tensor: ...


def new_cache(model: PreTrainedModel, pages: int, capacity: int) -> PagedCache:
    """A cache that fits the model's layers and heads."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    return PagedCache(
        layers=config.num_hidden_layers,
        pages=pages,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        dtype=model.dtype,
        device=str(model.device),
        capacity=capacity,
    )


class TransformersForward:
    """The model's own modules, with attention replaced by the step's."""

    def __init__(self, model: PreTrainedModel, pages: int, capacity: int) -> None:
        AttentionInterface.register(ATTENTION, _attention)
        model.set_attn_implementation(ATTENTION)
        self.model = model
        self.cache = new_cache(model, pages, capacity)
        config = model.config.get_text_config()
        self.vocabulary: int = config.vocab_size

    def __call__(self, step: Step) -> torch.Tensor:
        output = self.model(
            input_ids=step.ids[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=step.wanted,
            step=step,
        )
        logits: torch.Tensor = output.logits[0]
        return logits.float()


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    step: Step,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: shapes (1, heads, tokens, size) in, (1, tokens, heads, size) out."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    return step.attend(module.layer_idx, query, key, value, scale, softcap, sliding_window, s_aux)[None], None
