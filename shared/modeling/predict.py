"""Predictions in batches, for evaluation: class probabilities, scores of pairs, vectors, chat loss, greedy answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.modeling.greedy import Question, answer_greedily
from shared.modeling.kinds.base import Example, Row, by_length, length_limit, mask_of, pad
from shared.modeling.kinds.base import inputs as collate_inputs
from shared.modeling.kinds.chat import Chat
from shared.modeling.kinds.classification import logits_of
from shared.modeling.kinds.embedding import vectors_of
from shared.modeling.kinds.encoding import Input, encode_inputs, encode_texts
from shared.modeling.kinds.pairs import fits
from shared.modeling.kinds.turns import Message, encode_prompt
from shared.modeling.loading import LoadedModel
from shared.pipelines.options import Options


@dataclass(frozen=True)
class ChatScore:
    """Mean loss (nats) per learnt token, and how many tokens that is."""

    loss: float
    tokens: int


@torch.inference_mode()
def classify(loaded: LoadedModel, inputs: Sequence[Input], batch_size: int = 32) -> list[list[float]]:
    """Probabilities in the order of `card.labels`, one list a text or pair, in their order. They sum to 1, unless the
    model gives any number of labels: then each label has its own."""
    logits = _logits(loaded, inputs, batch_size)
    several = Options(**loaded.card.options).multi_label
    return [(one.sigmoid() if several else one.softmax(-1)).tolist() for one in logits]


@torch.inference_mode()
def score_pairs(loaded: LoadedModel, pairs: Sequence[tuple[str, str]], batch_size: int = 32) -> list[float]:
    """How well the texts of each pair belong together, as log-odds, in the order of the pairs."""
    return [float(fits(one[None])[0]) for one in _logits(loaded, pairs, batch_size)]


@torch.inference_mode()
def embed(loaded: LoadedModel, texts: Sequence[str], batch_size: int = 32) -> NDArray[np.float32]:
    """A vector at length 1 for each text, in their order (texts x width)."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    ids, _ = encode_texts(loaded.tokenizer, texts, limit)
    vectors: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(texts)
    for indices in by_length([len(tokens) for tokens in ids], batch_size):
        chosen = [ids[index] for index in indices]
        tensors = pad(chosen, int(loaded.tokenizer.pad_token_id)), mask_of(chosen)
        made = vectors_of(loaded.model, *(tensor.to(loaded.model.device) for tensor in tensors))
        for index, vector in zip(indices, made.cpu().numpy(), strict=True):
            vectors[index] = vector
    return np.stack(vectors)


def _logits(loaded: LoadedModel, inputs: Sequence[Input], batch_size: int) -> list[Tensor]:
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    pieces, _ = encode_inputs(loaded.tokenizer, inputs, limit)
    examples = [Example((), one.ids, [], 1, one.segments) for one in pieces]
    found: dict[int, Tensor] = {}
    for indices in by_length([len(example.ids) for example in examples], batch_size):
        batch = collate_inputs([examples[index] for index in indices], int(loaded.tokenizer.pad_token_id))
        logits = logits_of(loaded.model, {name: value.to(loaded.model.device) for name, value in batch.items()})
        found |= dict(zip(indices, logits.cpu(), strict=True))
    return [found[index] for index in range(len(inputs))]


def score_chat(loaded: LoadedModel, rows: Sequence[Row], batch_size: int = 8) -> ChatScore:
    """Loss on the assistant's turns of `rows` (each with row_id and messages), weighted by token."""
    kind = Chat()
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    examples = kind.encode(loaded.tokenizer, rows, (), limit).examples
    metrics = kind.score(loaded.model, examples, int(loaded.tokenizer.pad_token_id), batch_size)
    return ChatScore(metrics["loss"], sum(example.weight for example in examples))


def generate(
    loaded: LoadedModel,
    prompts: Sequence[str | Sequence[Message]],
    max_new_tokens: int = 64,
    batch_size: int = 16,
) -> list[str]:
    """Greedy answers in the order of the prompts. A prompt is a user's text or a list of messages."""
    limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
    asked = [Question(encode_prompt(loaded.tokenizer, _messages(prompt), limit)) for prompt in prompts]
    return answer_greedily(loaded, asked, max_new_tokens, batch_size)


def _messages(prompt: str | Sequence[Message]) -> Sequence[Message]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
