"""New tokenizers from a corpus: byte-level BPE for causal models, word pieces for BERT.

The same texts give the same tokenizer, which the trainers alone do not promise: the word-piece trainer numbers letters
in the order in which a hash table gives them. So every letter is numbered before it starts.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

END = "<|endoftext|>"
UNKNOWN, FRONT, BACK = "[UNK]", "[CLS]", "[SEP]"
SPECIALS = ("[PAD]", UNKNOWN, FRONT, BACK, "[MASK]")
INNER = "##"
LEAST_COUNT = 2
"""A piece that occurs but once is no piece of the language."""
LONGEST_PIECE = 24
"""Letters of a BPE token at most; without spaces between words (Chinese) whole clauses would become tokens."""
AT_ONCE = 1000


@dataclass(frozen=True)
class NewTokenizer:
    """`dropped` are letters too rare for the vocabulary's size: they are read as unknown."""

    tokenizer: PreTrainedTokenizerBase
    dropped: int = 0


def train_byte_bpe(texts: Sequence[str], vocabulary: int, length: int) -> NewTokenizer:
    """Byte-level BPE (Radford et al. 2019): any text can be written with it. One token begins, ends and pads texts."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=LEAST_COUNT,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_PIECE,
        show_progress=False,
    )
    raw.train_from_iterator(_chunks(texts), trainer)
    raw.post_processor = TemplateProcessing(single=f"{END} $A", special_tokens=[(END, raw.token_to_id(END))])
    named = {"bos_token": END, "eos_token": END, "pad_token": END}
    return NewTokenizer(_wrapped(raw, length, named, ["input_ids", "attention_mask"]))


def train_word_pieces(texts: Sequence[str], vocabulary: int, length: int) -> NewTokenizer:
    """Word pieces of lower-cased words; each Chinese character is a word."""
    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    letters = Counter[str]()
    for text in texts:
        letters.update(normalizer.normalize_str(text))
    kept = _alphabet(letters, vocabulary - len(SPECIALS))
    dropped = {letter for letter in letters if not letter.isspace() and letter not in kept}
    pieces = _word_pieces(texts, vocabulary, kept, dropped, normalizer.normalize_str)
    raw = Tokenizer(models.WordPiece(pieces, unk_token=UNKNOWN))
    raw.normalizer, raw.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece(prefix=INNER)
    raw.post_processor = TemplateProcessing(
        single=f"{FRONT} $A {BACK}",
        pair=f"{FRONT} $A {BACK} $B:1 {BACK}:1",
        special_tokens=[(FRONT, pieces[FRONT]), (BACK, pieces[BACK])],
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    named = dict(zip(names, SPECIALS, strict=True))
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return NewTokenizer(_wrapped(raw, length, named, inputs), len(dropped))


def _word_pieces(
    texts: Sequence[str], vocabulary: int, kept: set[str], dropped: set[str], normalised: Callable[[str], str]
) -> dict[str, int]:
    known = [*SPECIALS, *sorted(kept), *(INNER + letter for letter in sorted(kept) if _joins(letter))]
    raw = Tokenizer(models.WordPiece({}, unk_token=UNKNOWN))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, min_frequency=LEAST_COUNT, special_tokens=known, show_progress=False
    )
    without = str.maketrans(dict.fromkeys(dropped, " "))
    cleaned = (normalised(text).translate(without) for text in texts) if dropped else texts
    raw.train_from_iterator(_chunks(cleaned), trainer)
    pieces: dict[str, int] = raw.get_vocab()
    return pieces


def _alphabet(letters: Counter[str], room: int) -> set[str]:
    """The most frequent letters that fit, each with its form inside words."""
    kept: set[str] = set()
    for letter, _ in sorted(letters.items(), key=lambda found: (-found[1], found[0])):
        needs = 0 if letter.isspace() else 2 if _joins(letter) else 1
        if needs > room:
            break
        if needs:
            kept.add(letter)
            room -= needs
    return kept


def _joins(letter: str) -> bool:
    """Whether a letter can stand inside a word: not punctuation, nor a Chinese character, which the tokenizer takes
    for words of their own."""
    return not unicodedata.category(letter).startswith("P") and not _is_ideograph(letter)


def _is_ideograph(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("CJK")


def _chunks(texts: Any) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == AT_ONCE:
            yield chunk
            chunk = []
    yield chunk


def _wrapped(raw: Tokenizer, length: int, named: dict[str, str], inputs: list[str]) -> PreTrainedTokenizerBase:
    fast: Any = PreTrainedTokenizerFast
    wrapped: PreTrainedTokenizerBase = fast(
        tokenizer_object=raw,
        model_max_length=length,
        model_input_names=inputs,
        clean_up_tokenization_spaces=False,
        **named,
    )
    return wrapped
