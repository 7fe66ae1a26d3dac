"""Texts of any length as windows that a model can read, cut in training as they are in service.

Everything here takes the tokenizers library's own tokenizer, without padding and truncation set (`plain_tokenizer`),
and sets truncation on it for a moment: a tokenizer belongs to one caller at a time.
"""

from collections.abc import Sequence

from tokenizers import Encoding as Pieces
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from shared.errors import InvalidArgument
from shared.rows.words import split_words

TYPES = "token_type_ids"


def plain_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy that cuts and pads nothing. Raises InvalidArgument when it could not tell characters."""
    if not tokenizer.is_fast:
        raise InvalidArgument(
            "the base model's tokenizer tells no character offsets; take a base with a fast tokenizer", field="base"
        )
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def word_windows(tokenizer: Tokenizer, texts: Sequence[Sequence[str]], max_length: int) -> list[list[Pieces]]:
    """Each text, which comes cut into words, in windows that share a quarter of their tokens."""
    blank = _blank_before_words(tokenizer)
    tokenizer.enable_truncation(max_length, stride=max_length // 4)
    first = tokenizer.encode_batch([[blank + word for word in words] for words in texts], is_pretokenized=True)
    tokenizer.no_truncation()
    return [[pieces, *pieces.overflowing] for pieces in first]


def context_windows(
    tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], max_length: int, stride: int
) -> list[list[Pieces]]:
    """Each question with one window of its context after another; two windows share `stride` tokens. A question must
    leave room for more than that (see `room_for_context`)."""
    tokenizer.enable_truncation(max_length, stride=stride, strategy="only_second")
    first = tokenizer.encode_batch(list(pairs))
    tokenizer.no_truncation()
    return [[pieces, *pieces.overflowing] for pieces in first]


def room_for_context(tokenizer: Tokenizer, question: str, max_length: int) -> int:
    """Tokens of a window that the question leaves to the context."""
    asked = len(tokenizer.encode(question, add_special_tokens=False).ids)
    return max_length - asked - int(tokenizer.num_special_tokens_to_add(True))


def finer_words(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Given words cut as texts are, and of each part the given word that it is of.

    So `don't`, one word in many a data set, is the three words that it is in a text.
    """
    cut = [(part, place) for place, word in enumerate(words) for part in split_words(word)]
    return [part for part, _ in cut], [place for _, place in cut]


def word_places(windows: Sequence[Pieces]) -> dict[int, tuple[int, int]]:
    """Word -> the window and the token that speak for it: its first piece, where it has most company."""
    best: dict[int, tuple[int, int, int]] = {}
    for number, window in enumerate(windows):
        ids = window.word_ids
        for place, word in enumerate(ids):
            company = min(place, len(ids) - 1 - place)
            if word is None or (place > 0 and ids[place - 1] == word) or best.get(word, (-1,))[0] >= company:
                continue
            best[word] = (company, number, place)
    return {word: (number, place) for word, (_, number, place) in sorted(best.items())}


def segments_of(pieces: Pieces, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """Which of two texts each token belongs to, for models that are told."""
    return list(pieces.type_ids) if TYPES in tokenizer.model_input_names else None


def _blank_before_words(tokenizer: Tokenizer) -> str:
    """A blank for tokenizers that know the middle of a text's words only with one (byte-level, as GPT-2's)."""
    alone, within = (tokenizer.encode(text, add_special_tokens=False).tokens[-1:] for text in ("b", "a b"))
    return "" if alone == within else " "
