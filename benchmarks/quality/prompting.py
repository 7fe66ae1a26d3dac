"""A language model that is only prompted: how likely it finds an answer, and what it answers.

Answers are weighed as in-context learning does (Brown et al. 2020, https://arxiv.org/abs/2005.14165).
"""

import copy
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from shared.modeling.bases import resolve_base
from shared.modeling.devices import fast_at_bfloat16
from shared.modeling.greedy import Question, answer_greedily
from shared.modeling.kinds.base import IGNORED, pad
from shared.modeling.kinds.turns import Message, encode_prompt
from shared.modeling.loading import LoadedModel, load_base

ANSWERS_AT_ONCE = 32
PROMPTS_AT_ONCE = 8


class Writer:
    """A chat model in evaluation mode. Keys and values of what two prompts begin with are computed once."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self._ids: list[int] = []
        self._cache: Any = DynamicCache()

    @torch.inference_mode()
    def log_likelihoods(self, prompt: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """Nats of each answer, its end included, after the prompt."""
        first = self._after(encode_prompt(self.loaded.tokenizer, prompt, self.loaded.card.max_length))
        found: list[float] = []
        for start in range(0, len(answers), ANSWERS_AT_ONCE):
            found += self._weigh(first, answers[start : start + ANSWERS_AT_ONCE])
        return found

    @torch.inference_mode()
    def nats(self, before: list[int], ids: list[int], targets: list[int]) -> float:
        """Loss summed over the targets (IGNORED where there is none) of `ids`, read after `before`."""
        self._after(before)
        learnt = [at for at, target in enumerate(targets) if at > 0 and target != IGNORED]
        logits = self._model(input_ids=torch.tensor([ids]), past_key_values=copy.deepcopy(self._cache)).logits[0]
        chances = torch.log_softmax(logits[[at - 1 for at in learnt]].float(), -1)
        return -float(chances[range(len(learnt)), [targets[at] for at in learnt]].sum())

    def answers(self, prompts: Sequence[Sequence[Message]], tokens: int) -> list[str]:
        """Greedy answers of at most so many tokens."""
        loaded = self.loaded
        return self.complete([encode_prompt(loaded.tokenizer, one, loaded.card.max_length) for one in prompts], tokens)

    def complete(self, prompts: Sequence[list[int]], tokens: int) -> list[str]:
        """Greedy continuations of token ids, of at most so many tokens, in the order given."""
        return answer_greedily(self.loaded, [Question(ids) for ids in prompts], tokens, PROMPTS_AT_ONCE)

    def _after(self, ids: list[int]) -> Tensor:
        """Log-probabilities (vocabulary) of the token after `ids`."""
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids[:-1], self._ids, strict=False)))
        if self._ids[same:]:
            self._cache.crop(same - len(self._ids))
        output = self._model(input_ids=torch.tensor([ids[same:]]), past_key_values=self._cache, logits_to_keep=1)
        self._ids, self._cache = ids, output.past_key_values
        return torch.log_softmax(output.logits[0, -1].float(), -1)

    def _weigh(self, first: Tensor, answers: Sequence[str]) -> list[float]:
        tokenizer: Any = self.loaded.tokenizer
        ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in answers]
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(ids))
        # Every answer begins at the same position and is padded on its right, where nothing looks at it.
        logits = self._model(input_ids=pad(ids, tokenizer.eos_token_id), past_key_values=cache).logits
        chances = torch.log_softmax(logits.float(), -1)
        return [
            float(first[tokens[0]] + chances[row, range(len(tokens) - 1), tokens[1:]].sum())
            for row, tokens in enumerate(ids)
        ]

    def _model(self, **inputs: Any) -> Any:
        return self.loaded.model(use_cache=True, **inputs)


def load_writer(base: str, bases: Path) -> Writer:
    """A base model with a chat template, in bfloat16 where the processor is fast at it."""
    dtype = "bfloat16" if fast_at_bfloat16("cpu") else "float32"
    return Writer(load_base(resolve_base(base, bases), "chat", max_length=2048, dtype=dtype))


def turns(instruction: str, shots: Sequence[tuple[str, str]], question: str) -> list[Message]:
    """A conversation: what to do, examples as earlier turns, then what is asked."""
    told = [{"role": "system", "content": instruction}]
    for asked, answered in shots:
        told += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*told, {"role": "user", "content": question}]
