"""Masked tokens: 80 % become the mask token, 10 % another one, 10 % stay (Devlin et al. 2019, BERT)."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch

from shared.modeling.kinds.base import IGNORED, Example

MASKED_SHARE = 0.8
REPLACED_SHARE = 0.1


@dataclass(frozen=True)
class Vocabulary:
    """What a masked token may become: the mask token, or any other."""

    mask_id: int
    size: int


def masked_count(maskable: int, ratio: float) -> int:
    """How many of so many tokens are masked: the same number every time, and at least one."""
    return min(maskable, max(1, round(maskable * ratio)))


def windows_of(
    row_id: str, ids: Sequence[int], frame: tuple[Sequence[int], Sequence[int]], length: int, ratio: float
) -> list[Example]:
    """A document without special tokens in windows of at most `length` tokens, each in the tokenizer's frame.

    Targets are the tokens that may be masked (IGNORED where a special token is), the weight is how many will be.
    """
    front, back = list(frame[0]), list(frame[1])
    body = max(1, length - len(front) - len(back))
    parts = [list(ids[start : start + body]) for start in range(0, len(ids), body)]
    return [
        Example(
            (row_id,),
            [*front, *part, *back],
            [IGNORED] * len(front) + part + [IGNORED] * len(back),
            masked_count(len(part), ratio),
        )
        for part in parts
    ]


def mask(example: Example, vocabulary: Vocabulary, generator: torch.Generator | None) -> tuple[list[int], list[int]]:
    """Ids with masks, and targets that leave out all that was not chosen; drawn from torch's global generator when
    none is given."""
    maskable = [place for place, target in enumerate(example.targets) if target != IGNORED]
    ids, targets = list(example.ids), [IGNORED] * len(example.ids)
    order = torch.rand(len(maskable), generator=generator).argsort()[: example.weight].tolist()
    fates = torch.rand(example.weight, generator=generator).tolist()
    others = torch.randint(vocabulary.size, (example.weight,), generator=generator).tolist()
    for index, fate, other in zip(order, fates, others, strict=True):
        place = maskable[index]
        targets[place] = example.ids[place]
        if fate < MASKED_SHARE:
            ids[place] = vocabulary.mask_id
        elif fate < MASKED_SHARE + REPLACED_SHARE:
            ids[place] = other
    return ids, targets


def fixed_generator(example: Example) -> torch.Generator:
    """Draws the same masks for an example wherever it stands: for validation and judging."""
    key = "/".join([*example.row_ids, *map(str, example.ids)])
    return torch.Generator().manual_seed(int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) >> 1)
