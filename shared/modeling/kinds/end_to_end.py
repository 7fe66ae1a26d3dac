"""Texts laid end to end in one line, without padding, each with positions and attention of its own.

Every layer computes real tokens only, and the head only those that are learnt, so the loss and the gradients are those
of the padded batch. Attention goes text by text through the fused causal kernel, or in bfloat16 on a CPU by plain
products: there a mask over the whole line costs more than the padding that it saves. SmolLM2's layers with LoRA, 8 texts
a batch, against padding: 1.0 times as fast in float32 and 1.1 in bfloat16 where all have about 95 tokens, 1.8 to 2.3
where they have 43 to 165.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from shared.modeling.kinds.base import IGNORED, Batch, Example
from shared.modeling.kinds.plain_causal import LONGEST, causal

IMPLEMENTATION = "end_to_end"
UNSUPPORTED = ("softcap", "position_bias", "s_aux")
"""What some architectures add to attention, and this one does not compute."""
PROBE = (3, 5)
"""Lengths of the texts that a model is tried with."""
TOLERANCE = 1e-3


def lay_out(examples: Sequence[Example]) -> Batch:
    """`input_ids`, `position_ids` and `targets` (1 x tokens of all), and `text_lengths` (texts).

    The first token of a text has no target: nothing in its text comes before it.
    """
    lengths = [len(example.ids) for example in examples]
    return {
        "input_ids": torch.tensor([[token for example in examples for token in example.ids]]),
        "position_ids": torch.tensor([[place for length in lengths for place in range(length)]]),
        "targets": torch.tensor([[token for one in examples for token in (IGNORED, *one.targets[1:])]]),
        "text_lengths": torch.tensor(lengths),
    }


def told_apart(batch: Batch) -> dict[str, Any]:
    """What a model is given beside `input_ids` where texts are laid end to end; nothing for a padded batch."""
    if "text_lengths" not in batch:
        return {}
    return {"position_ids": batch["position_ids"], "text_lengths": batch["text_lengths"].tolist()}


def attend_apart(model: PreTrainedModel) -> str | None:
    """Let the model take lines of texts; why it can't, leaving it as it was.

    What an architecture does beside attention (convolution over time, recurrence, biases by distance) is not known
    from outside, so the model is tried: a line of two texts must give what each gives alone.
    """
    typed: Any = model
    before = typed.config._attn_implementation
    if before != "sdpa" or not typed._supports_attention_backend:
        return f"the attention of models of type {typed.config.model_type} can't be replaced"
    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, attention_apart)
    ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _mask_of_padding)
    typed.set_attn_implementation(IMPLEMENTATION)
    if _gives_what_each_gives_alone(model):
        return None
    typed.set_attn_implementation(before)
    return f"models of type {typed.config.model_type} do not keep texts of one line apart"


def attention_apart(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    text_lengths: Sequence[int] | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each text of a line (1 x heads x tokens x size each): 1 x tokens x heads x size.

    In transformers' form of an attention function; without `text_lengths`, its own.
    """
    if text_lengths is None:
        made: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return made
    if any(others.get(name) is not None for name in UNSUPPORTED):
        raise NotImplementedError(f"attention with {', '.join(UNSUPPORTED)}")
    if _are_plain(query, value, text_lengths, dropout, sliding_window):
        return causal(query, key, value, text_lengths, _scale(query, scaling)), None
    queries, keys, values = (torch.split(part, list(text_lengths), dim=2) for part in (query, key, value))
    found = [_inside(*text, dropout, scaling, sliding_window) for text in zip(queries, keys, values, strict=True)]
    return torch.cat(found, dim=2).transpose(1, 2), None


def _mask_of_padding(*place: Any, attention_mask: Tensor | None = None, **others: Any) -> Tensor | None:
    """In transformers' form of a mask's maker: padded batches get theirs, a line of texts needs none."""
    if attention_mask is None:
        return None
    make: Any = sdpa_mask
    return cast(Tensor | None, make(*place, attention_mask=attention_mask, **others))


def _inside(
    query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None, window: int | None
) -> Tensor:
    length = query.shape[2]
    if _are_plain(query, value, [length], dropout, window):
        return causal(query, key, value, [length], _scale(query, scaling)).transpose(1, 2)
    mask = None
    if window is not None and length > window:
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril().triu(1 - window)
    return functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _scale(query: Tensor, scaling: float | None) -> float:
    return float(query.shape[-1] ** -0.5) if scaling is None else scaling


def _are_plain(query: Tensor, value: Tensor, lengths: Sequence[int], dropout: float, window: int | None) -> bool:
    longest = LONGEST if window is None else min(LONGEST, window)
    fits = max(lengths) <= longest and query.shape[-1] == value.shape[-1]
    return fits and not dropout and query.device.type == "cpu" and query.dtype == torch.bfloat16


@torch.inference_mode()
def _gives_what_each_gives_alone(model: PreTrainedModel) -> bool:
    config: Any = model.config
    ids = torch.arange(sum(PROBE), device=model.device) * 7 % config.vocab_size
    line = {
        "input_ids": ids[None],
        "position_ids": torch.cat([torch.arange(length, device=model.device) for length in PROBE])[None],
    }
    was_training = model.training
    model.train(False)
    try:
        together = model(**line, text_lengths=list(PROBE), use_cache=False).logits[0]
        alone = torch.cat(
            [model(input_ids=text[None], use_cache=False).logits[0] for text in torch.split(ids, list(PROBE))]
        )
    except (NotImplementedError, TypeError):
        return False
    finally:
        model.train(was_training)
    return bool(torch.allclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE * float(alone.abs().max())))
