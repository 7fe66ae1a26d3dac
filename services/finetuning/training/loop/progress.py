"""Speed and remaining time of a run."""

import time


class Pace:
    """Smoothed rates over the last steps."""

    SMOOTHING = 0.1

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._seconds = 0.0
        self._rows = 0.0
        self._tokens = 0.0

    def restart(self) -> None:
        """Leave out the time since the last step (a validation, a checkpoint)."""
        self._last = time.monotonic()

    def step(self, rows: int, tokens: int) -> None:
        now = time.monotonic()
        new = (now - self._last, rows, tokens)
        keep = 1 - self.SMOOTHING if self._seconds else 0.0
        self._seconds, self._rows, self._tokens = (
            keep * old + (1 - keep) * value
            for old, value in zip((self._seconds, self._rows, self._tokens), new, strict=True)
        )
        self._last = now

    def rates(self, steps_left: int) -> dict[str, float]:
        """rows_per_second, tokens_per_second and eta_seconds."""
        seconds = max(self._seconds, 1e-9)
        return {
            "rows_per_second": round(self._rows / seconds, 2),
            "tokens_per_second": round(self._tokens / seconds, 2),
            "eta_seconds": round(steps_left * self._seconds, 2),
        }
