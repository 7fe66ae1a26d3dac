"""What is done and how long the rest may take, told on standard error."""

import sys
import time
from collections import defaultdict
from statistics import mean


class Progress:
    """Guesses a cell's time from cells of the same contender, and from all cells where there is none yet."""

    def __init__(self, names: list[str]) -> None:
        self._left = list(names)
        self._total = len(names)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._began = time.monotonic()

    def done(self, name: str, what: str, seconds: float) -> None:
        """A cell of the contender `name` is there; `seconds` is what it took, now or in an earlier run."""
        self._left.remove(name)
        self._seconds[name].append(seconds)
        number = self._total - len(self._left)
        print(f"[{number}/{self._total}] {what} ({seconds:.0f} s); {self._rest()}", file=sys.stderr, flush=True)

    def dropped(self, name: str) -> None:
        """A cell of the contender `name` will not come."""
        self._left.remove(name)

    def _rest(self) -> str:
        every = [seconds for seen in self._seconds.values() for seconds in seen]
        rest = sum(mean(self._seconds.get(name) or every) for name in self._left)
        return f"{rest / 60:.0f} min left" if self._left else f"done in {(time.monotonic() - self._began) / 60:.0f} min"
