"""Prompts of an exact length, made of English that every Python brings along: the text of its own manual."""

import re
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from random import Random

from transformers import AutoTokenizer, PreTrainedTokenizerBase

TASK = "Explain in your own words what this means: "


class Prompts:
    """Chat prompts for one tokenizer. The same seed gives the same prompts; every prompt differs from the others."""

    def __init__(self, model: Path, task: str = TASK) -> None:
        self._task = task
        self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model)
        self._text = _ids(self._tokenizer, manual())

    def chat(self, count: int, tokens: int, seed: int) -> list[tuple[int, ...]]:
        """So many prompts of so many tokens: a task and a piece of the manual in the model's chat template."""
        numbers = Random(f"{tokens}/{seed}")
        before, after = self._template()
        room = tokens - len(before) - len(after)
        assert room > 0, f"the chat template alone has more than {tokens} tokens"
        starts = [numbers.randrange(len(self._text) - room) for _ in range(count)]
        return [(*before, *self._text[start : start + room], *after) for start in starts]

    def pieces(self, count: int, tokens: int, seed: int = 0) -> list[tuple[int, ...]]:
        """Plain pieces of the manual, for perplexity."""
        numbers = Random(f"{tokens}/{seed}")
        starts = [numbers.randrange(len(self._text) - tokens) for _ in range(count)]
        return [tuple(self._text[start : start + tokens]) for start in starts]

    def _template(self) -> tuple[list[int], list[int]]:
        """The tokens before and after the piece of text."""
        mark = "%%%"
        if self._tokenizer.chat_template is None:
            return _ids(self._tokenizer, self._task), []
        messages = [{"role": "user", "content": self._task + mark}]
        whole = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        before, _, after = str(whole).partition(mark)
        return _ids(self._tokenizer, before), _ids(self._tokenizer, after)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


@cache
def manual() -> str:
    """Running English without the manual's tables, lists and code."""
    paragraphs = (" ".join(part.split()) for topic in sorted(topics) for part in re.split(r"\n\s*\n", topics[topic]))
    return "\n\n".join(one for one in paragraphs if len(one) > 200 and one[0].isupper() and one[-1] == ".")
