"""Texts become the tokens that transformers makes of them, in windows where they are long, from many threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.inference.engine.tokenising import TextEncoder
from shared.errors import InvalidArgument
from tests.support.tiny_encoders import word_tokenizer

TEXTS = ["a good film", "the quick brown fox jumps over the lazy dog " * 9, "ünïcode 漢字 ok?"]


def test_texts_and_pairs_are_cut_as_transformers_cuts_them() -> None:
    tokenizer = word_tokenizer()
    encoder = TextEncoder(tokenizer, 20)
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[1]), (TEXTS[2], TEXTS[0])]
    for found, inputs in ((encoder.texts(TEXTS), TEXTS), (encoder.pairs(pairs), pairs)):
        wanted = tokenizer(inputs, truncation=True, max_length=20)
        assert [one.ids for one in found] == wanted["input_ids"]
        assert [one.types for one in found] == wanted["token_type_ids"]


def test_windows_cover_a_context_and_share_tokens() -> None:
    encoder = TextEncoder(word_tokenizer(), 24)
    context = " ".join(f"{number} coins" for number in range(60))
    windows = encoder.windows("how many?", context, 6)
    assert all(len(window.ids) <= 24 for window in windows)
    seen = {span for window in windows for span, of in zip(window.offsets, window.sequence_ids, strict=True) if of == 1}
    assert "".join(context[start:end] for start, end in sorted(seen)) == context.replace(" ", "")
    with pytest.raises(InvalidArgument, match="no room for context"):
        encoder.windows("how many coins? " * 9, context, 6)


def test_parts_of_a_text_are_counted_in_tokens() -> None:
    encoder = TextEncoder(word_tokenizer(), 24)
    text = "open the door and push"
    assert encoder.count(text) == len(encoder.texts([text])[0].ids)
    spans = encoder.spans(text)
    assert text[: spans[1][1]] == "open the"
    assert text[spans[-1][0] :] == "push"
    assert not encoder.spans("")


def test_many_threads_get_their_own_tokens() -> None:
    encoder = TextEncoder(word_tokenizer(), 20)
    wanted = [one.ids for one in encoder.texts(TEXTS)]

    def work(index: int) -> bool:
        if index % 2:
            return len(encoder.windows("how?", TEXTS[1], 4)) > 1
        return encoder.texts([TEXTS[index % 3]])[0].ids == wanted[index % 3]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(400)))
