"""Instruction following: one request, one answer."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.modeling.kinds.base import Row
from shared.modeling.kinds.causal import load_causal
from shared.modeling.kinds.exchange import UNCUT, continued, fitted, shortened, with_specials
from shared.modeling.kinds.turns import Message, encode_conversation, encode_prompt
from shared.modeling.kinds.writing import Writing
from shared.modeling.prompts import DEFAULT_PROMPTS, filled


class Instruction(Writing):
    """Rows have `instruction`, `output` and perhaps `input` and `system`. A prompt of the pipeline's own comes before
    the tokenizer's chat template, and a plain one stands in where there is none. Requests are cut on the right."""

    name = "instruction"
    columns = ("instruction", "input", "output", "system")

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_causal(folder)

    def asked(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> list[int]:
        def encode(text: str) -> list[int]:
            return encode_request(tokenizer, self.options.prompt, _turns(row, text))

        return encode(shortened(tokenizer, request_of(row), limit, encode))[-limit:]

    def example(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> tuple[list[int], list[int], bool]:
        def encode(text: str) -> tuple[list[int], list[int]]:
            turns = _turns(row, text)
            if _templated(tokenizer, self.options.prompt):
                return encode_conversation(tokenizer, [*turns, {"role": "assistant", "content": row["output"]}])
            return continued(tokenizer, encode_request(tokenizer, self.options.prompt, turns), row["output"])

        return fitted(tokenizer, request_of(row), limit, encode)


def request_of(row: Row) -> str:
    """The instruction, and below it what it is about."""
    return f"{row['instruction']}\n\n{row['input']}" if row.get("input") else str(row["instruction"])


def encode_request(tokenizer: PreTrainedTokenizerBase, prompt: str | None, messages: Sequence[Message]) -> list[int]:
    """What the model reads of a user's turn, perhaps after a system turn. Raises InvalidArgument where there are
    further turns and no template to put them into."""
    if _templated(tokenizer, prompt):
        return encode_prompt(tokenizer, messages, UNCUT)
    *before, last = messages
    if [turn["role"] for turn in before] not in ([], ["system"]):
        raise InvalidArgument("this model takes one user message, perhaps after a system message", field="messages")
    told = "".join(f"{turn['content']}\n\n" for turn in before)
    return with_specials(tokenizer, told + filled(prompt or DEFAULT_PROMPTS["instruction"], last["content"]))


def _templated(tokenizer: PreTrainedTokenizerBase, prompt: str | None) -> bool:
    return not prompt and bool(tokenizer.chat_template)


def _turns(row: Row, text: str) -> list[Message]:
    asked = {"role": "user", "content": text}
    return [{"role": "system", "content": row["system"]}, asked] if row.get("system") else [asked]
