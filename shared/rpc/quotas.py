"""How much a tenant may ask of one server process."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import ResourceExhausted

Clock = Callable[[], float]
BUSY_SECONDS = 0.5
"""When to try again where only the end of another call helps."""


@dataclass(frozen=True)
class Allowance:
    """What is None is without a limit."""

    requests_per_second: float | None = None
    burst: float | None = None
    """Requests at once after a pause; a second's worth, and at least one, when None."""
    tokens_per_minute: float | None = None
    concurrent: int | None = None


class Bucket:
    """A token bucket that may go into debt; not thread-safe."""

    def __init__(self, rate: float, capacity: float, now: float) -> None:
        """`rate` a second."""
        self._rate, self._capacity = rate, capacity
        self._level, self._seen = capacity, now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there; 0 when it is."""
        self._level = min(self._capacity, self._level + (now - self._seen) * self._rate)
        self._seen = now
        return max(amount - self._level, 0.0) / self._rate

    def spend(self, amount: float) -> None:
        self._level -= amount


class Quota:
    """What one tenant has left. Thread-safe."""

    def __init__(self, tenant: str, allowance: Allowance, clock: Clock = time.monotonic) -> None:
        self.allowance = allowance
        self._tenant, self._clock = tenant, clock
        self._lock = threading.Lock()
        self._running = 0
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.adopt(allowance)

    def adopt(self, allowance: Allowance) -> None:
        """New limits, with full buckets; calls that run still count."""
        with self._lock:
            now, rate = self._clock(), allowance.requests_per_second
            self.allowance = allowance
            self._requests = Bucket(rate, max(allowance.burst or rate, 1.0), now) if rate else None
            a_minute = allowance.tokens_per_minute
            self._tokens = Bucket(a_minute / 60, a_minute, now) if a_minute else None

    def enter(self) -> None:
        """One more call. Raises ResourceExhausted with the seconds after which another try makes sense."""
        with self._lock:
            most = self.allowance.concurrent
            if most is not None and self._running >= most:
                raise self._full("concurrent", f"{most} calls at once", BUSY_SECONDS)
            self._take()
            self._running += 1

    def again(self) -> None:
        """One more request in a call that has entered. Raises as `enter` does."""
        with self._lock:
            self._take()

    def leave(self) -> None:
        with self._lock:
            self._running -= 1

    def charge(self, tokens: int) -> None:
        """Tokens that a call took; what exceeds the allowance is waited for by later calls."""
        if self._tokens is not None:
            with self._lock:
                self._tokens.spend(tokens)

    def _take(self) -> None:
        now = self._clock()
        if self._tokens and (wait := self._tokens.wait(1, now)):
            raise self._full("tokens_per_minute", f"{self.allowance.tokens_per_minute:g} tokens a minute", wait)
        if self._requests:
            if wait := self._requests.wait(1, now):
                rate = self.allowance.requests_per_second
                raise self._full("requests_per_second", f"{rate:g} requests a second", wait)
            self._requests.spend(1)

    def _full(self, quota: str, limit: str, wait: float) -> ResourceExhausted:
        return ResourceExhausted(
            f"tenant {self._tenant!r} has used its {limit}; try again in {wait:.2g} s",
            retry_seconds=wait,
            tenant=self._tenant,
            quota=quota,
        )
