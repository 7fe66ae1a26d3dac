"""Text generation: text as it stands, perhaps going on from a given beginning."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from shared.modeling.kinds.base import Row
from shared.modeling.kinds.causal import load_causal
from shared.modeling.kinds.exchange import continued, with_specials
from shared.modeling.kinds.writing import Writing

PROMPT_SHARE = 4
"""A prompt and a text that are too long together: the prompt keeps at least one part in so many of the room."""
BEGINNING = 8
"""Tokens of a text without a prompt that a model is given to go on from while it is judged."""


class Generation(Writing):
    """Rows have `text` and perhaps `prompt`. All of the text is learnt, and nothing of the prompt, whose end is kept
    where the two are too long; then the text is cut on the right."""

    name = "generation"
    columns = ("prompt", "text")

    def load(self, folder: Path, labels: tuple[str, ...]) -> PreTrainedModel:
        return load_causal(folder)

    def asked(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> list[int]:
        """The prompt; of a text without one the first tokens."""
        if row["prompt"]:
            return with_specials(tokenizer, row["prompt"])[-limit:]
        return with_specials(tokenizer, row["text"])[: min(limit, BEGINNING)]

    def example(self, tokenizer: PreTrainedTokenizerBase, row: Row, limit: int) -> tuple[list[int], list[int], bool]:
        read = with_specials(tokenizer, row["prompt"] or "")
        ids, targets = continued(tokenizer, read, row["text"])
        surplus = len(ids) - limit
        if surplus <= 0:
            return ids, targets, False
        dropped = min(surplus, max(0, len(read) - limit // PROMPT_SHARE))
        return ids[dropped:][:limit], targets[dropped:][:limit], True
