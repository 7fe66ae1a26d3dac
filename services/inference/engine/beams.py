"""Beam search over one prompt, token by token as transformers does it with `early_stopping=False`.

Of the likeliest continuations of all beams, those that end compete for a place among the finished; the others go on.
It stops when the best running beam, scored as if it ended now, is below every finished one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Hypothesis:
    """A finished beam; `score` is its summed log-probability divided by its length to the power of the penalty."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Continuation:
    """A running beam of the next step: the beam it continues, and its new token."""

    parent: int
    token: int


class BeamSearch:
    """The state of one search; `ends` end a beam, `max_new` tokens end the search."""

    def __init__(self, width: int, length_penalty: float, ends: frozenset[int], max_new: int) -> None:
        self.finished: list[Hypothesis] = []
        self.done = False
        self._width, self._penalty, self._ends, self._max_new = width, length_penalty, ends, max_new
        self._scores = torch.zeros(1)
        self._length = 0

    def advance(self, logprobs: torch.Tensor, beams: Sequence[Sequence[int]]) -> list[Continuation]:
        """The beams of the next step, best first, from log-probabilities (beams, vocabulary); none when it is done.

        `beams` are the tokens generated so far, one row of `logprobs` each.
        """
        self._length += 1
        vocabulary = logprobs.shape[1]
        totals = (logprobs + self._scores.to(logprobs.device)[:, None]).flatten()
        count = min(max(2, 1 + len(self._ends)) * self._width, totals.shape[0])
        values, places = totals.topk(count)
        found = [divmod(place, vocabulary) for place in places.tolist()]
        full = self._length >= self._max_new
        ended = [full or token in self._ends for _, token in found]
        self._collect(values.cpu(), found, ended, beams)
        going = [at for at in range(count) if not ended[at]][: self._width]
        self._scores = values.cpu()[going]
        self.done = not going or not self._can_improve()
        return [] if self.done else [Continuation(*found[at]) for at in going]

    def _collect(
        self,
        values: torch.Tensor,
        found: list[tuple[int, int]],
        ended: list[bool],
        beams: Sequence[Sequence[int]],
    ) -> None:
        scores = (values / self._length**self._penalty).tolist()
        for at in range(min(self._width, len(found))):
            if ended[at]:
                parent, token = found[at]
                self.finished.append(Hypothesis((*beams[parent], token), scores[at]))
        self.finished.sort(key=lambda one: -one.score)
        del self.finished[self._width :]

    def _can_improve(self) -> bool:
        if len(self.finished) < self._width:
            return True
        return float(self._scores[0] / self._length**self._penalty) > self.finished[-1].score
