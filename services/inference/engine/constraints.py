"""Answers that must follow a grammar: JSON schema, regular expression, choices or Lark.

The work is llguidance's (Rust): an Earley parser over derivatives of regular expressions gives, for each
state, the bit mask of tokens that may come next, in about 50 microseconds.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from transformers import PreTrainedTokenizerBase

from services.inference.engine.grammars import field_of, grammar_of
from services.inference.engine.interface import Constraint
from services.inference.engine.vocabulary import trie_of
from shared.errors import InvalidArgument, ResourceExhausted, Unavailable, Unsupported

COMPILE_SECONDS = 5.0
TRIE_SECONDS = 10.0
KEPT_GRAMMARS = 64
LONGEST_ERROR = 500  # characters; it repeats parts of the grammar
LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,  # 20 ms
    step_lexer_fuel=100_000,  # 7 ms
    step_max_items=50_000,  # 2.5 ms
    max_lexer_states=20_000,  # 40 MB, shared by all answers under one grammar
    max_grammar_size=200_000,
    verbose_errors=False,
)


class ConstraintState:
    """Where one answer stands in its grammar. Used by one thread at a time."""

    def __init__(self, matcher: LLMatcher, failed: threading.Event) -> None:
        self._matcher = matcher
        self._failed = failed

    @property
    def complete(self) -> bool:
        """Nothing but the end may follow: the answer is whole."""
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    @property
    def error(self) -> str:
        """Why no next token can be told (the grammar became too complex), else empty."""
        return _why(self._matcher)

    def fork(self) -> "ConstraintState":
        """The same place, for another answer."""
        return ConstraintState(self._matcher.deep_copy(), self._failed)

    def advance(self, token: int) -> None:
        """The answer goes on with a token that the mask allowed."""
        self._matcher.consume_token(token)

    def fill_mask(self, words: torch.Tensor) -> bool:
        """Write the allowed tokens into int32 words on the CPU, bit i of word w for token 32 w + i; False on error."""
        assert words.is_contiguous()
        self._matcher.unsafe_compute_mask_ptr(words.data_ptr(), words.numel() * words.element_size())
        if self._matcher.is_error():
            self._failed.set()
            return False
        return True


@dataclass(frozen=True)
class _Compiled:
    """A grammar at its start, or on its way. Its answers share the states of its lexer, of which there is a limit: once
    one has `failed`, the grammar is compiled anew for the next.
    """

    matcher: Future[LLMatcher]
    failed: threading.Event = field(default_factory=threading.Event)


class Grammars:
    """Compiled constraints over one vocabulary, kept for requests to come. May be called from any thread.

    `vocabulary` is the width of the model's logits. The token trie is built at once, in a thread of its own, so that no
    request waits for it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, eos: frozenset[int], vocabulary: int) -> None:
        self._lock = threading.Lock()
        self._compiled: OrderedDict[Constraint, _Compiled] = OrderedDict()
        self._compilers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammar")
        self._trie: Future[LLTokenizer] | None = None
        if eos:
            width = max(vocabulary, len(tokenizer))
            self._trie = self._compilers.submit(trie_of, tokenizer, width, tuple(sorted(eos)))

    def start(self, constraint: Constraint) -> ConstraintState:
        """The start of an answer under this constraint.

        Raises `InvalidArgument` naming the field for what is malformed, unsatisfiable or too complex,
        `ResourceExhausted` while others are compiled, `Unavailable` before the trie is there, `Unsupported` where the tokenizer is not a fast one or has
        no end token.
        """
        compiled = self._compile(constraint)
        name = field_of(constraint)
        try:
            matcher = compiled.matcher.result(timeout=COMPILE_SECONDS)
        except TimeoutError:
            if not compiled.matcher.running():
                raise ResourceExhausted("other constraints are being compiled", COMPILE_SECONDS, field=name) from None
            raise InvalidArgument(
                f"{name} was not compiled within {COMPILE_SECONDS:g} s; make it simpler", field=name
            ) from None
        if matcher.is_error():
            raise InvalidArgument(f"{name} can't be followed: {_why(matcher)}", field=name)
        return ConstraintState(matcher.deep_copy(), compiled.failed)

    def _compile(self, constraint: Constraint) -> _Compiled:
        if self._trie is None:
            raise Unsupported("constraints need an end-of-sequence token; this model has none")
        try:
            trie = self._trie.result(timeout=TRIE_SECONDS)
        except TimeoutError:
            raise Unavailable("the model's vocabulary is not read yet", retry_seconds=TRIE_SECONDS) from None
        grammar = grammar_of(constraint)
        with self._lock:
            compiled = self._compiled.get(constraint)
            if compiled is None or compiled.failed.is_set():
                compiled = _Compiled(self._compilers.submit(_matcher, trie, grammar))
                self._compiled[constraint] = compiled
                while len(self._compiled) > KEPT_GRAMMARS:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(constraint)
        return compiled


def allowed(states: Sequence[ConstraintState], vocabulary: int) -> torch.Tensor:
    """Booleans (states, vocabulary) on the CPU: tokens that may come next; none for a state in error."""
    words = torch.zeros(len(states), -(-vocabulary // 32), dtype=torch.int32)
    for row, state in zip(words, states, strict=True):
        if not state.fill_mask(row):
            row.zero_()
    bits = np.unpackbits(words.numpy().view(np.uint8), axis=1, count=vocabulary, bitorder="little")
    return torch.from_numpy(bits.view(np.bool_))


def _matcher(trie: LLTokenizer, grammar: str) -> LLMatcher:
    """Computing the first mask finds grammars that nothing can follow."""
    matcher = LLMatcher(trie, grammar, log_level=0, limits=LIMITS)
    if not matcher.is_error():
        matcher.compute_bitmask()
    return matcher


def _why(matcher: LLMatcher) -> str:
    text = str(matcher.get_error()).partition("\n<")[0][:LONGEST_ERROR]
    return "nothing satisfies it" if text.startswith("NoExtension") else text
