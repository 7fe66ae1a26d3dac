"""Guesses at the next tokens from the request's own text (prompt lookup, Saxena 2023).

The last few tokens are looked up in what came before; what followed them there is proposed. The model checks all
proposals in one step, which costs hardly more than one token as long as reading the weights is what takes the time.
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 3, 2  # tokens that must agree
PATIENCE = 32  # tokens without proposals after too few were right
WORTH = 0.3  # share of right proposals below which it does not pay
MEMORY = 0.8  # weight of what was seen before


class Lookup:
    """The places of all short token sequences of one answer and its prompt, and how often proposals were right."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._rate = 0.7
        self._pause = 0
        self.extend(prompt)

    def extend(self, tokens: Sequence[int]) -> None:
        """More text. The last sequence is not looked up as its own past: its place is known one token later."""
        for token in tokens:
            end = len(self._tokens)
            for length in range(SHORTEST, LONGEST + 1):
                if end >= length:
                    self._after[tuple(self._tokens[end - length :])] = end
            self._tokens.append(token)
        self._pause = max(0, self._pause - len(tokens))

    def propose(self, limit: int) -> list[int]:
        """Up to `limit` tokens that may come next; none where nothing agrees or where it has not paid."""
        if self._pause or limit <= 0:
            return []
        for length in range(LONGEST, SHORTEST - 1, -1):
            place = self._after.get(tuple(self._tokens[-length:]))
            if place is not None and len(self._tokens) >= length:
                return self._tokens[place : place + limit]
        return []

    def judge(self, proposed: int, accepted: int) -> None:
        """Learn from a checked proposal: below `WORTH` it rests for a while."""
        if not proposed:
            return
        self._rate = MEMORY * self._rate + (1 - MEMORY) * accepted / proposed
        if self._rate < WORTH:
            self._pause, self._rate = PATIENCE, WORTH + 0.1
