"""Whole characters only, and nothing that a stop string may take back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from services.inference.engine.text import Detokenizer, StopMatcher, token_text
from tests.unit.inference.engine.tiny import byte_tokenizer

TEXTS = ["plain text", "你好，世界", "naïve café", "smile 😀👩‍👩‍👧 end", "混合 mixed 🎉 text"]


def word_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "good": 1, "film": 2, "bad": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    make: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = make(tokenizer_object=tokenizer, unk_token="[UNK]")
    return made


def with_added_words() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<think>", "naïve 词"])
    return tokenizer


ADDED = with_added_words()


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(text: str) -> None:
    tokenizer = byte_tokenizer()
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.push(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(pieces) + detokenizer.flush() == text
    assert all("\ufffd" not in piece for piece in pieces)


def test_an_unfinished_character_comes_with_the_flush() -> None:
    tokenizer = byte_tokenizer()
    detokenizer = Detokenizer(tokenizer)
    ids = tokenizer("ok 你")["input_ids"][:-1]
    assert "".join(detokenizer.push(token) for token in ids) == "ok "
    assert detokenizer.flush() == "\ufffd"


def test_bytes_that_never_become_a_character_are_not_held_for_ever() -> None:
    tokenizer = byte_tokenizer()
    detokenizer = Detokenizer(tokenizer)
    (lead,) = tokenizer("你")["input_ids"][:1]
    assert any(detokenizer.push(lead) for _ in range(20))


@given(tokens=st.lists(st.integers(0, 300), max_size=40))
def test_any_tokens_join_to_what_the_tokenizer_decodes(tokens: list[int]) -> None:
    """Broken characters, special tokens, added words and ids that nobody knows included."""
    detokenizer = Detokenizer(ADDED)
    text = "".join(detokenizer.push(token) for token in tokens) + detokenizer.flush()
    assert text == ADDED.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_another_vocabulary_is_decoded_piece_by_piece() -> None:
    """Without a byte-level decoder the text of a token depends on its neighbours."""
    tokenizer = word_tokenizer()
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.push(token) for token in tokenizer("good film bad")["input_ids"]]
    assert pieces == ["good", " film", " bad"]
    assert detokenizer.flush() == ""


def test_the_text_of_a_token_alone_shows_special_tokens_too() -> None:
    tokenizer = byte_tokenizer()
    (letter,) = tokenizer("a")["input_ids"]
    assert [token_text(tokenizer, token) for token in (letter, 256)] == ["a", "<s>"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_a_stop_string_is_found_across_any_borders(size: int) -> None:
    text = "one two STOP three"
    matcher = StopMatcher(["STOP", "never"])
    sent = ""
    for start in range(0, len(text), size):
        piece, stopped = matcher.push(text[start : start + size])
        sent += piece
        if stopped:
            break
    assert sent == "one two "
    assert matcher.met


def test_what_looked_like_a_stop_string_is_sent_in_the_end() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.push("a ST") == ("a ", False)
    assert matcher.push("ATE ST") == ("STATE ", False)
    assert matcher.flush() == "ST"


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert StopMatcher(["late", "b"]).push("abc late") == ("a", True)


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert StopMatcher([]).push("S") == ("S", False)
