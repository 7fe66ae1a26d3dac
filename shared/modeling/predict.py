"""Predictions in batches, for evaluation: class probabilities, chat loss, greedy answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from shared.modeling.kinds.base import Row, by_length, length_limit, mask_of, pad
from shared.modeling.kinds.chat import Chat
from shared.modeling.kinds.classification import encode_texts, logits_of
from shared.modeling.kinds.turns import Message, encode_prompt
from shared.modeling.loading import LoadedModel


@dataclass(frozen=True)
class ChatScore:
    """Mean loss (nats) per learnt token, and how many tokens that is."""

    loss: float
    tokens: int


@torch.inference_mode()
def classify(loaded: LoadedModel, texts: Sequence[str], batch_size: int = 32) -> list[list[float]]:
    """Probabilities in the order of `card.labels`, one list a text, in the order of the texts."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    ids, _ = encode_texts(loaded.tokenizer, texts, limit)
    answers: list[list[float]] = [[] for _ in texts]
    for indices in by_length([len(tokens) for tokens in ids], batch_size):
        chosen = [ids[index] for index in indices]
        batch = {"input_ids": pad(chosen, int(loaded.tokenizer.pad_token_id)), "attention_mask": mask_of(chosen)}
        logits = logits_of(loaded.model, {name: value.to(loaded.model.device) for name, value in batch.items()})
        for index, probabilities in zip(indices, logits.softmax(-1).tolist(), strict=True):
            answers[index] = probabilities
    return answers


def score_chat(loaded: LoadedModel, rows: Sequence[Row], batch_size: int = 8) -> ChatScore:
    """Loss on the assistant's turns of `rows` (each with row_id and messages), weighted by token."""
    kind = Chat()
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    examples = kind.encode(loaded.tokenizer, rows, (), limit).examples
    metrics = kind.score(loaded.model, examples, int(loaded.tokenizer.pad_token_id), batch_size)
    return ChatScore(metrics["loss"], sum(example.weight for example in examples))


@torch.inference_mode()
def generate(
    loaded: LoadedModel,
    prompts: Sequence[str | Sequence[Message]],
    max_new_tokens: int = 64,
    batch_size: int = 16,
) -> list[str]:
    """Greedy answers in the order of the prompts. A prompt is a user's text or a list of messages."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    ids = [encode_prompt(loaded.tokenizer, _messages(prompt), limit) for prompt in prompts]
    answers = [""] * len(prompts)
    for indices in by_length([len(tokens) for tokens in ids], batch_size):
        replies = _continue(loaded, [ids[index] for index in indices], max_new_tokens)
        for index, reply in zip(indices, replies, strict=True):
            answers[index] = reply
    return answers


def _messages(prompt: str | Sequence[Message]) -> Sequence[Message]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _continue(loaded: LoadedModel, prompts: list[list[int]], max_new_tokens: int) -> list[str]:
    pad_id = int(loaded.tokenizer.pad_token_id)
    settings = {
        "do_sample": False,
        "max_new_tokens": max_new_tokens,
        "pad_token_id": pad_id,
        "eos_token_id": _ends(loaded),
    }
    inputs = pad(prompts, pad_id, left=True).to(loaded.model.device)
    mask = mask_of(prompts, left=True).to(loaded.model.device)
    model: Any = loaded.model
    output = model.generate(
        input_ids=inputs, attention_mask=mask, generation_config=GenerationConfig.from_dict(settings)
    )
    replies: list[str] = loaded.tokenizer.batch_decode(output[:, inputs.shape[1] :], skip_special_tokens=True)
    return [reply.strip() for reply in replies]


def _ends(loaded: LoadedModel) -> list[int]:
    configured = getattr(loaded.model, "generation_config", None)
    ends = getattr(configured, "eos_token_id", None)
    known = ends if isinstance(ends, list) else [ends]
    return sorted({int(end) for end in [*known, loaded.tokenizer.eos_token_id] if end is not None})
