"""Answers that must follow a grammar: JSON schema, regular expression, choices or Lark.

The work is llguidance's (Rust): an Earley parser over derivatives of regular expressions gives, for each
state, the bit mask of tokens that may come next, in about 50 microseconds.
"""

import torch
from llguidance import LLMatcher


class ConstraintState:
    """Where one answer stands in its grammar. Used by one thread at a time."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Nothing but the end may follow: the answer is whole."""
        return bool(self._matcher.is_stopped())

    def fork(self) -> "ConstraintState":
        """The same place, for another answer."""
        return ConstraintState(self._matcher.deep_copy())

    def advance(self, token: int) -> None:
        """The answer goes on with a token that the mask allowed."""
        taken = self._matcher.consume_token(token)
        assert taken, self._matcher.get_error()

    def fill_mask(self, row: torch.Tensor) -> None:
        """Write the allowed tokens into int32 words on the CPU, bit i of word w for token 32 w + i."""
        assert row.is_contiguous()
        self._matcher.unsafe_compute_mask_ptr(row.data_ptr(), row.numel() * row.element_size())
