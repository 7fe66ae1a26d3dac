"""Tokenizers that versions share."""

from pathlib import Path
from weakref import WeakValueDictionary

from transformers import PreTrainedTokenizerBase

from shared.modeling.digests import TOKENIZER, folder_digest
from shared.modeling.loading import load_tokenizer

FILES = (*TOKENIZER, "added_tokens.json", "config.json")


class Tokenizers:
    """By the digest of their files, as long as a version uses them. For one thread.

    Reading one with 49,000 tokens keeps the interpreter from everybody else for 0.1 s at a stretch, and the versions of
    a model have the same.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, PreTrainedTokenizerBase] = WeakValueDictionary()

    def read(self, folder: Path) -> PreTrainedTokenizerBase:
        """Raises DataCorrupted when the folder has none that can be read."""
        digest = folder_digest(folder, FILES)
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = load_tokenizer(folder)
        return found
