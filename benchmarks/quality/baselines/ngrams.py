"""Counts of tokens as a language model: unigrams, and trigrams that fall back on shorter ones.

Interpolation after Jelinek and Mercer (1980), with the weights of Witten and Bell (1991) in the form of Chen and
Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1998), section 2.4: a context that was
followed by many different tokens trusts its own counts less.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

Context = tuple[int, ...]


class NgramModel:
    """Learnt from pairs of a context and the token that came after it."""

    def __init__(self, order: int, vocabulary: int) -> None:
        """`order` 1 sees no context, 3 sees two tokens; `vocabulary` is how many tokens there are."""
        self._order, self._vocabulary = order, vocabulary
        self._after: dict[Context, Counter[int]] = defaultdict(Counter)

    def learn(self, ids: Sequence[int], at: int) -> None:
        """The token at a position, after those before it."""
        for size in range(self._order):
            if size <= at:
                self._after[tuple(ids[at - size : at])][ids[at]] += 1

    def nats(self, ids: Sequence[int], at: int) -> float:
        """Minus the log-probability of the token at a position."""
        chance = 1 / self._vocabulary
        for size in range(min(self._order, at + 1)):
            counts = self._after.get(tuple(ids[at - size : at]))
            if counts:
                chance = (counts[ids[at]] + len(counts) * chance) / (counts.total() + len(counts))
        return -math.log(chance)
