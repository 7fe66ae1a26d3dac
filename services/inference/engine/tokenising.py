"""Texts to token ids, from many threads at once and without a call into transformers for each text.

transformers switches truncation on and off inside the tokenizer that it shares between threads; here the fast
tokenizer is copied once, set once and only read afterwards.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tokenizers import Encoding as Pieces
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from shared.errors import FailedPrecondition, InvalidArgument
from shared.modeling.kinds.windows import context_windows, room_for_context, word_windows

TYPES = "token_type_ids"


class Head(Enum):
    """What is wanted of a text: what the model's own head gives, or the mean of its last hidden states."""

    OWN = "own"
    MEAN = "mean"


@dataclass(frozen=True)
class Encoding:
    """One text (or pair) as token ids; `types` tell the two of a pair apart, where the model knows types."""

    ids: Sequence[int]
    types: Sequence[int]
    head: Head = Head.OWN

    def __len__(self) -> int:
        return len(self.ids)


class TextEncoder:
    """Cuts texts on the right, pairs where they are longest, at `max_length` tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.max_length = max_length
        self._slow = None if tokenizer.is_fast else tokenizer
        self._lock = threading.Lock()
        self._typed = TYPES in tokenizer.model_input_names
        self._whole: Any = None
        if tokenizer.is_fast:
            self._whole = _copy(tokenizer)
            self._fast = _copy(tokenizer)
            self._fast.enable_truncation(max_length, strategy="longest_first")

    def texts(self, texts: Sequence[str], head: Head = Head.OWN) -> list[Encoding]:
        if self._slow is not None:
            return self._slowly(texts, None, head)
        return [self._as_encoding(one, head) for one in self._fast.encode_batch_fast(list(texts))]

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoding]:
        if self._slow is not None:
            return self._slowly([first for first, _ in pairs], [second for _, second in pairs], Head.OWN)
        return [self._as_encoding(one, Head.OWN) for one in self._fast.encode_batch_fast(list(pairs))]

    def pieces(self, inputs: Sequence[Any]) -> list[Pieces]:
        """Texts or pairs with character offsets, cut as `texts` and `pairs` cut them. Needs a fast tokenizer."""
        found: list[Pieces] = self._needed().encode_batch(list(inputs))
        return found

    def windows(self, question: str, context: str, stride: int) -> list[Pieces]:
        """A question with one window of the context after another; two windows share `stride` tokens.

        Raises InvalidArgument when the question leaves no room for context.
        """
        whole = self._needed(whole=True)
        with self._lock:  # truncation is a setting of the tokenizer
            room = room_for_context(whole, question, self.max_length)
            if room <= stride:
                asked = len(whole.encode(question, add_special_tokens=False).ids)
                raise InvalidArgument(
                    f"the question has {asked} tokens; beside it a window of {self.max_length} has no room for context",
                    field="question",
                )
            (found,) = context_windows(whole, [(question, context)], self.max_length, stride)
        return found

    def long_pieces(self, words: Sequence[str]) -> list[Pieces]:
        """A text that comes cut into words, in windows that share a quarter of their tokens."""
        whole = self._needed(whole=True)
        with self._lock:
            (found,) = word_windows(whole, [words], self.max_length)
        return found

    def count(self, text: str) -> int:
        """Tokens of a text, uncut, special ones included."""
        return len(self._uncut(text).ids)

    def spans(self, text: str) -> Sequence[tuple[int, int]]:
        """Characters of the tokens of a text, uncut, without special ones."""
        found: Sequence[tuple[int, int]] = self._uncut(text, special=False).offsets
        return found

    def of(self, pieces: Pieces) -> Encoding:
        """Pieces as a model takes them."""
        return self._as_encoding(pieces, Head.OWN)

    def _needed(self, whole: bool = False) -> Tokenizer:
        if self._slow is not None:
            raise FailedPrecondition("this model's tokenizer tells no character offsets; give it a fast tokenizer")
        chosen: Tokenizer = self._whole if whole else self._fast
        return chosen

    def _uncut(self, text: str, special: bool = True) -> Pieces:
        with self._lock:
            found: Pieces = self._needed(whole=True).encode(text, add_special_tokens=special)
        return found

    def _as_encoding(self, pieces: Pieces, head: Head) -> Encoding:
        return Encoding(pieces.ids, pieces.type_ids if self._typed else (), head)

    def _slowly(self, texts: Sequence[str], seconds: Sequence[str] | None, head: Head) -> list[Encoding]:
        assert self._slow is not None
        with self._lock:
            made = self._slow(
                list(texts), text_pair=seconds and list(seconds), truncation=True, max_length=self.max_length
            )
        types = made[TYPES] if self._typed else [()] * len(texts)
        return [Encoding(ids, kinds, head) for ids, kinds in zip(made["input_ids"], types, strict=True)]


def _copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    backend: Any = tokenizer
    copy = Tokenizer.from_str(backend.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy
