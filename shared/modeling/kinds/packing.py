"""Documents packed into blocks, so that no position is spent on padding and none is learnt twice.

Documents longer than a block are cut into pieces of its length; each piece goes where the least room is left that
still holds it, longest first (best fit decreasing; Ding et al. 2024, https://arxiv.org/abs/2404.10830). Documents of
a block do not see one another: positions start anew, and attention stays inside a document.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from shared.modeling.kinds.base import IGNORED, Example


def pieces_of(row_id: str, ids: Sequence[int], length: int) -> list[Example]:
    """A document as one example, or as several of at most `length` tokens; without a last one of a single token,
    which has nothing to predict."""
    parts = [list(ids[start : start + length]) for start in range(0, len(ids), length)]
    return [Example((row_id,), part, [IGNORED, *part[1:]], len(part) - 1) for part in parts if len(part) > 1]


def packed(pieces: Sequence[Example], length: int) -> list[Example]:
    """The pieces in blocks of at most `length` tokens; `segments` number the documents of a block."""
    blocks: list[list[Example]] = []
    with_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []
    for piece in sorted(pieces, key=lambda piece: -piece.length):
        at = bisect_left(rooms, piece.length)
        if at < len(rooms):
            room = rooms[at]
            block = with_room[room].pop()
            if not with_room[room]:
                rooms.pop(at)
            blocks[block].append(piece)
        else:
            room, block = length, len(blocks)
            blocks.append([piece])
        left = room - piece.length
        if left > 1:
            if not with_room[left]:
                insort(rooms, left)
            with_room[left].append(block)
    return [_joined(block) for block in blocks]


def positions_of(documents: Tensor) -> Tensor:
    """Positions that start anew with each document, of document numbers (rows x positions), int64 both."""
    places = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    starts = torch.ones_like(documents, dtype=torch.bool)
    starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return places - torch.where(starts, places, 0).cummax(1).values


def attention_within(documents: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores so that a token sees its own document up to itself: rows x 1 x positions x
    positions, 0 or the least number of `dtype`."""
    same = documents[:, :, None] == documents[:, None, :]
    mask = torch.zeros(same.shape, dtype=dtype, device=documents.device)
    return mask.masked_fill_(~same.tril(), torch.finfo(dtype).min)[:, None]


def _joined(pieces: Sequence[Example]) -> Example:
    return Example(
        tuple(dict.fromkeys(row_id for piece in pieces for row_id in piece.row_ids)),
        [token for piece in pieces for token in piece.ids],
        [target for piece in pieces for target in piece.targets],
        sum(piece.weight for piece in pieces),
        [number for number, piece in enumerate(pieces) for _ in piece.ids],
    )
