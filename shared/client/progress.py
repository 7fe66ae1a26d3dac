"""How far a long call is, told to whoever wants to know."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""How many rows are done, and how many there are in all."""


def silent(*done: int) -> None:
    """For a caller that does not."""
