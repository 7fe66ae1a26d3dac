"""transformers without a server: `python -m benchmarks.peers.programs.transformers FOLDER static|continuous THREADS`.

`static` is `generate` on all prompts of a script as one batch, `continuous` is `generate_batch`. Both give their
tokens at the end, so only tokens per second can be told of them.
"""

import sys
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.load.playing import serve_scripts
from benchmarks.load.script import Answer, Ask, Script


class TransformersPlayer:
    """Every lane of the script has one request, and all of them start at once."""

    def __init__(self, folder: str, continuous: bool) -> None:
        attention = "paged|sdpa" if continuous else "sdpa"
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation=attention
        )
        self._generate = self._continuous if continuous else self._static

    def __call__(self, script: Script) -> list[Answer]:
        began = time.monotonic()
        answers: list[Answer] = []
        for place in range(max(len(lane) for lane in script.lanes)):
            asks = [lane[place] for lane in script.lanes if place < len(lane)]
            due = time.monotonic() - began
            counts = self._generate(asks)
            ended = time.monotonic() - began
            answers += [_answer(ask, due, ended, count) for ask, count in zip(asks, counts, strict=True)]
        return answers

    @torch.inference_mode()
    def _static(self, asks: list[Ask]) -> list[int]:
        ids = torch.tensor([ask.prompt for ask in asks])
        output = self._model.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=_config(asks[0].tokens, min_new=True)
        )
        return [output.shape[1] - ids.shape[1]] * len(asks)

    def _continuous(self, asks: list[Ask]) -> list[int]:
        found = self._model.generate_batch(
            inputs=[list(ask.prompt) for ask in asks],
            generation_config=_config(asks[0].tokens, min_new=False),
            progress_bar=False,
        )
        return [len(output.generated_tokens) for output in found.values()]


def _config(tokens: int, min_new: bool) -> GenerationConfig:
    """Greedy, and no end before the last token; `generate_batch` knows that only as an end that never comes."""
    ends: dict[str, Any] = {"min_new_tokens": tokens, "eos_token_id": 2} if min_new else {"eos_token_id": -1}
    make: Any = GenerationConfig
    config: GenerationConfig = make(do_sample=False, max_new_tokens=tokens, pad_token_id=2, **ends)
    return config


def _answer(ask: Ask, due: float, ended: float, count: int) -> Answer:
    failed = "" if count == ask.tokens else f"{count} tokens came, {ask.tokens} were asked for"
    return Answer(ask.label, due, ((ended, count),), whole=not failed, failed=failed)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    serve_scripts(TransformersPlayer(sys.argv[1], continuous=sys.argv[2] == "continuous"))
