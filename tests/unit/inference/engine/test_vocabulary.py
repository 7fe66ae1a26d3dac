"""The trie of a vocabulary is the same, from the bytes of its tokens and from its JSON."""

from random import Random
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from services.inference.engine.vocabulary import trie_of
from tests.unit.inference.engine.tiny import byte_tokenizer

GRAMMARS = (
    LLMatcher.grammar_from_regex("[a-z é]+[0-9]{2}"),
    LLMatcher.grammar_from_json_schema('{"type": "object", "properties": {"a": {"type": "string"}}}'),
    LLMatcher.grammar_from_lark('start: "a" <end> | "key" /[x-z]*/'),
)


def trained() -> PreTrainedTokenizerFast:
    """Byte-level pairs learnt from a few words, with added tokens special and not."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(
        ["a naïve café", "turn the key", "key by key"], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet)
    )
    make: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = make(tokenizer_object=learner)
    tokenizer.add_special_tokens({"eos_token": AddedToken("<end>", special=True)})
    tokenizer.add_tokens(["two words", "naïve"])
    return tokenizer


def allowed(matcher: LLMatcher) -> list[int]:
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
    return [int(id) for id in np.flatnonzero(bits)]


def end_of(tokenizer: PreTrainedTokenizerFast) -> int:
    assert isinstance(tokenizer.eos_token_id, int)
    return tokenizer.eos_token_id


def test_every_token_has_the_bytes_that_its_json_gives() -> None:
    tokenizer = trained()
    ours = trie_of(tokenizer, len(tokenizer) + 5, (end_of(tokenizer),))
    theirs = LLTokenizer(tokenizer.backend_tokenizer.to_str(), n_vocab=len(tokenizer) + 5, eos_token=end_of(tokenizer))
    ids = range(len(tokenizer) + 5)
    assert [ours.decode_bytes([id]) for id in ids] == [theirs.decode_bytes([id]) for id in ids]
    known = range(len(tokenizer))
    assert [ours.is_special_token(id) for id in known] == [theirs.is_special_token(id) for id in known]
    assert ours.vocab_size == theirs.vocab_size == len(tokenizer) + 5


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_what_may_follow_is_what_its_json_allows(grammar: str) -> None:
    tokenizer = trained()
    ours = trie_of(tokenizer, len(tokenizer), (end_of(tokenizer),))
    theirs = LLTokenizer(tokenizer.backend_tokenizer.to_str(), n_vocab=len(tokenizer), eos_token=end_of(tokenizer))
    one, two = (LLMatcher(trie, grammar, log_level=0) for trie in (ours, theirs))
    numbers, taken = Random(1), 0
    while taken < 30 and not one.is_stopped():
        choice = allowed(one)
        assert choice == allowed(two)
        token = numbers.choice(choice)
        assert one.consume_token(token) == two.consume_token(token)
        taken += 1
    assert not one.is_error()
    assert taken >= 2


def test_equal_tokenizers_share_a_trie_and_others_do_not() -> None:
    first, second = byte_tokenizer(), byte_tokenizer()
    trie = trie_of(first, 258, (257,))
    assert trie_of(second, 258, (257,)) is trie
    assert trie_of(second, 300, (257,)) is not trie
    assert trie_of(second, 258, (256,)) is not trie
    assert trie_of(trained(), len(trained()), (0,)) is trie_of(trained(), len(trained()), (0,))
