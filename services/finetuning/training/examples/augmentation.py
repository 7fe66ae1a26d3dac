"""Texts changed anew in every epoch: other words for the same, words that change places, words and tokens left out.

Random swaps and deletions after Wei and Zou 2019 (EDA, https://arxiv.org/abs/1901.11196); words are those of
`shared.rows.words`, so Chinese loses and swaps characters. What becomes of a text is a pure function of seed, epoch
and row, and at least one word and one token of it stay.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from transformers import PreTrainedTokenizerBase

from services.finetuning.training.examples.paraphrases import OfTexts
from shared.modeling.kinds.base import Encoded, Example
from shared.modeling.kinds.changing import Changeable
from shared.pipelines.train_rows import Augmentation
from shared.rows.words import Span, word_spans

Row = Mapping[str, Any]
Tokens = tuple[list[int], list[int] | None]
"""Ids and, where there are, segments."""
PARAPHRASED = 0.5
"""How likely it is that a row with a paraphrase is read in those words."""


class Augmented:
    """The train rows of a run, encoded anew for every epoch."""

    def __init__(
        self,
        kind: Changeable,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        labels: tuple[str, ...],
        max_length: int,
        augmentation: Augmentation,
        seed: int,
        paraphrases: OfTexts | None = None,
    ) -> None:
        self._kind, self._tokenizer, self._rows = kind, tokenizer, rows
        self._labels, self._max_length = labels, max_length
        self._augmentation, self._seed = augmentation, seed
        self._paraphrases = paraphrases or {}

    def encode(self, epoch: int) -> Encoded:
        """The rows as they are read in epoch 0, 1, …: always as many examples, in the same order."""

        def change(row_id: str, text: str) -> str:
            read = self._said(row_id, text, epoch)
            return changed(read, self._augmentation, self._generator(epoch, "words", row_id))

        made = self._kind.encode_changed(self._tokenizer, self._rows, self._labels, self._max_length, change)
        if not self._augmentation.token_dropout:
            return made
        return Encoded([self._thinned(example, epoch) for example in made.examples], made.truncated)

    def _said(self, row_id: str, text: str, epoch: int) -> str:
        """The text or, in half of the epochs, its paraphrase, where there is one; all texts of a row alike."""
        other = self._paraphrases.get((row_id, text))
        if other is None:
            return text
        return other if self._generator(epoch, "paraphrase", row_id).random() < PARAPHRASED else text

    def _thinned(self, example: Example, epoch: int) -> Example:
        draws = self._generator(epoch, "tokens", *example.row_ids)
        ids, segments = self._without_tokens((example.ids, example.segments), draws)
        if not self._kind.changes_others:
            return replace(example, ids=ids, segments=segments)
        given = example.other_segments or (None,) * len(example.others)
        others = [self._without_tokens(pair, draws) for pair in zip(example.others, given, strict=True)]
        return replace(
            example,
            ids=ids,
            segments=segments,
            others=tuple(other for other, _ in others),
            other_segments=tuple(found for _, found in others if found is not None),
        )

    def _without_tokens(self, tokens: Tokens, draws: random.Random) -> Tokens:
        return drop_tokens(
            tokens,
            self._augmentation.token_dropout,
            self._tokenizer.mask_token_id if self._tokenizer.mask_token_id is not None else _unknown(self._tokenizer),
            frozenset(self._tokenizer.all_special_ids),
            draws,
        )

    def _generator(self, epoch: int, *what: str) -> random.Random:
        key = "/".join([str(self._seed), str(epoch), *what])
        return random.Random(int.from_bytes(blake2b(key.encode(), digest_size=16).digest()))


def changed(text: str, augmentation: Augmentation, draws: random.Random) -> str:
    """The text with words swapped and left out as the draws say."""
    return without_words(with_swaps(text, augmentation.word_swap, draws), augmentation.word_delete, draws)


def with_swaps(text: str, share: float, draws: random.Random) -> str:
    """About `share` of the words in another's place; signs and blanks between words stay."""
    spans = _words(text)
    if not share or len(spans) < 2:
        return text
    words = [text[start:end] for start, end in spans]
    for place in range(len(words)):
        if draws.random() < share / 2:  # a swap moves two
            other = (place + 1 + int(draws.random() * (len(words) - 1))) % len(words)
            words[place], words[other] = words[other], words[place]
    ends = [0, *(end for _, end in spans)]
    gaps = [text[end:start] for end, (start, _) in zip(ends, spans, strict=False)]
    return "".join(gap + word for gap, word in zip(gaps, words, strict=True)) + text[ends[-1] :]


def without_words(text: str, share: float, draws: random.Random) -> str:
    """Each word, with what follows it up to the next, left out with probability `share`; one stays at least."""
    spans = _words(text)
    if not share or len(spans) < 2:
        return text
    kept = _kept(len(spans), share, draws)
    starts = [0, *(start for start, _ in spans[1:]), len(text)]
    return "".join(text[starts[place] : starts[place + 1]] for place in sorted(kept)).strip() or text


def drop_tokens(
    tokens: Tokens, share: float, stand_in: int | None, special: Collection[int], draws: random.Random
) -> Tokens:
    """Each token that is not `special` replaced by `stand_in`, or left out where there is none, with probability
    `share`; one stays at least."""
    ids, segments = tokens
    places = [place for place, token in enumerate(ids) if token not in special]
    if not places:
        return tokens
    stay = {places[index] for index in _kept(len(places), share, draws)}
    dropped = set(places) - stay
    if stand_in is not None:
        return [stand_in if place in dropped else token for place, token in enumerate(ids)], segments
    left = [place for place in range(len(ids)) if place not in dropped]
    return [ids[place] for place in left], None if segments is None else [segments[place] for place in left]


def _words(text: str) -> list[Span]:
    """Words with letters or digits; of a text without any, its signs."""
    spans = word_spans(text)
    return [span for span in spans if text[span[0]].isalnum()] or spans


def _kept(count: int, share: float, draws: random.Random) -> set[int]:
    drawn = [draws.random() for _ in range(count)]
    return {place for place, draw in enumerate(drawn) if draw >= share} or {max(range(count), key=drawn.__getitem__)}


def _unknown(tokenizer: PreTrainedTokenizerBase) -> int | None:
    return None if tokenizer.unk_token_id is None else int(tokenizer.unk_token_id)
