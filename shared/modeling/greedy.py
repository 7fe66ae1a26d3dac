"""Greedy answers to token ids, in batches, by causal and by sequence-to-sequence models."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from shared.modeling.kinds.base import by_length, mask_of, pad
from shared.modeling.loading import LoadedModel


@dataclass(frozen=True)
class Question:
    """What a model reads, and the token that its answer has to begin with, if any."""

    ids: Sequence[int]
    first: int | None = None


def room_for_answers(loaded: LoadedModel, limit: int, new_tokens: int) -> tuple[int, int]:
    """Tokens that a question may have and those that its answer may have, within `limit` and the model's positions."""
    config: Any = loaded.model.config
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return limit, new_tokens
    if config.is_encoder_decoder:
        return limit, min(new_tokens, int(positions) - 1)
    new_tokens = min(new_tokens, int(positions) // 2)
    return min(limit, int(positions) - new_tokens), new_tokens


@torch.inference_mode()
def answer_greedily(
    loaded: LoadedModel,
    questions: Sequence[Question],
    new_tokens: int,
    batch_size: int = 16,
    seconds: float | None = None,
) -> list[str]:
    """The likeliest next token again and again, until the end token; texts in the order of the questions.

    With `seconds` the answers of a batch stay as they are after that time, if only one token long.
    """
    answers = [""] * len(questions)
    for first in sorted({question.first for question in questions}, key=lambda token: -1 if token is None else token):
        chosen = [index for index, question in enumerate(questions) if question.first == first]
        for places in by_length([len(questions[index].ids) for index in chosen], batch_size):
            batch = [chosen[place] for place in places]
            replies = _answers(loaded, [questions[index].ids for index in batch], new_tokens, first, seconds)
            for index, reply in zip(batch, replies, strict=True):
                answers[index] = reply
    return answers


def _answers(
    loaded: LoadedModel, asked: list[Sequence[int]], new_tokens: int, first: int | None, seconds: float | None
) -> list[str]:
    model: Any = loaded.model
    pad_id = int(loaded.tokenizer.pad_token_id)
    left = not model.config.is_encoder_decoder
    settings = deepcopy(model.generation_config) if not left else GenerationConfig.from_dict({})
    settings.update(do_sample=False, num_beams=1, max_length=None, max_new_tokens=new_tokens, pad_token_id=pad_id)
    if left:
        settings.update(eos_token_id=_ends(loaded))
    if seconds is not None:
        settings.update(max_time=seconds)
    if first is not None:
        settings.update(forced_bos_token_id=first)
    ids = pad(asked, pad_id, left=left).to(model.device)
    mask = mask_of(asked, left=left).to(model.device)
    output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
    new = output[:, ids.shape[1] :] if left else output
    replies: list[str] = loaded.tokenizer.batch_decode(new, skip_special_tokens=True)
    return [reply.strip() for reply in replies]


def _ends(loaded: LoadedModel) -> list[int]:
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    known = configured if isinstance(configured, list) else [configured]
    return sorted({int(end) for end in [*known, loaded.tokenizer.eos_token_id] if end is not None})
