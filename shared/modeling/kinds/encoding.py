"""Texts and pairs of texts to token ids, as they are when a model is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

TYPES = "token_type_ids"
Input = str | tuple[str, str]
"""A text, or two that are read together."""


@dataclass(frozen=True)
class Pieces:
    """`segments` tell the texts of a pair apart (0 and 1), for models that are told; None: all are 0."""

    ids: list[int]
    segments: list[int] | None = None


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> tuple[list[list[int]], int]:
    """Token ids of each text, cut on the right, and how many were cut."""
    pieces, truncated = encode_inputs(tokenizer, texts, max_length)
    return [one.ids for one in pieces], truncated


def encode_inputs(
    tokenizer: PreTrainedTokenizerBase, inputs: Sequence[Input], max_length: int
) -> tuple[list[Pieces], int]:
    """Each input, cut on the right (pairs where they are longest) to `max_length` tokens, and how many were cut."""
    found: dict[int, Pieces] = {}
    for pairs in (False, True):
        places = [place for place, one in enumerate(inputs) if isinstance(one, tuple) is pairs]
        chosen = [inputs[place] for place in places]
        found |= dict(zip(places, _encode(tokenizer, chosen), strict=True))
    long = [place for place, pieces in found.items() if len(pieces.ids) > max_length]
    for place in long:
        (found[place],) = _encode(tokenizer, [inputs[place]], max_length)
    return [found[place] for place in range(len(inputs))], len(long)


def _encode(tokenizer: PreTrainedTokenizerBase, inputs: Sequence[Input], most: int | None = None) -> list[Pieces]:
    """Texts only, or pairs only."""
    if not inputs:
        return []
    firsts = [one[0] if isinstance(one, tuple) else one for one in inputs]
    seconds = [one[1] for one in inputs if isinstance(one, tuple)] or None
    made = tokenizer(firsts, seconds, truncation=most is not None, max_length=most, verbose=False)
    ids: list[list[int]] = made["input_ids"]
    segments = made[TYPES] if seconds and TYPES in made else [None] * len(ids)
    return [Pieces(*pieces) for pieces in zip(ids, segments, strict=True)]
