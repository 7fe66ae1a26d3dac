"""Dialogue: the assistant's turns are learnt, everything else is context."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.modeling.kinds.base import Row
from shared.modeling.kinds.causal import load_causal
from shared.modeling.kinds.turns import encode_conversation, encode_prompt
from shared.modeling.kinds.writing import Writing


class Chat(Writing):
    """Rows have `messages`, a list of {role, content}. Conversations are cut on the left."""

    name = "chat"
    columns = ("messages",)

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_causal(folder)

    def asked(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> list[int]:
        messages = row["messages"]
        last = max(index for index, message in enumerate(messages) if message["role"] == "assistant")
        return encode_prompt(tokenizer, messages[:last], limit)

    def example(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> tuple[list[int], list[int], bool]:
        ids, targets = encode_conversation(tokenizer, row["messages"])
        return ids[-limit:], targets[-limit:], len(ids) > limit
