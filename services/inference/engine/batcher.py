"""Gathers texts of many requests into batches of similar length.

A full batch goes at once; a lone text waits at most the latency budget for company.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from services.inference.engine.compute import ComputeThread
from services.inference.engine.interface import Load
from shared.errors import Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable

SHORTEST_BUCKET = 16
Row = list[float]
Encode = Callable[[Sequence[Sequence[int]]], Sequence[Row]]


@dataclass(frozen=True)
class BatchLimits:
    """Texts a batch, seconds a text waits for company, texts and tokens that may wait."""

    batch: int = 32
    budget_seconds: float = 0.002
    waiting_texts: int = 2048
    waiting_tokens: int = 65_536


@dataclass(eq=False)
class _Item:
    tokens: Sequence[int]
    deadline: float | None
    future: "Future[Row]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None


@dataclass(frozen=True)
class Ticket:
    """The pending answers of one request, in the order of its texts."""

    items: Sequence[_Item]

    def wait(self) -> list[Row]:
        """Blocks until all are computed. Raises `DeadlineExceeded`, `Cancelled` or what the computation raised."""
        try:
            return [item.future.result() for item in self.items]
        except CancelledError:
            raise Cancelled("the request was cancelled") from None

    def cancel(self) -> None:
        """Drop what is not being computed yet."""
        for item in self.items:
            item.future.cancel()

    @property
    def queue_seconds(self) -> float:
        """How long the text that waited longest has waited for its batch."""
        now = time.monotonic()
        return max((item.started or now) - item.arrived for item in self.items)


class Batcher:
    """One thread over buckets by length: up to 16 tokens, 32, 64, ..."""

    def __init__(self, encode: Encode, limits: BatchLimits, compute: ComputeThread) -> None:
        self._encode = encode
        self._compute = compute
        self._limits = limits
        self._buckets: dict[int, list[_Item]] = {}
        self._running = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, texts: Sequence[Sequence[int]], deadline: float | None) -> Ticket:
        """Queue texts given as token ids; `deadline` is on the clock of `time.monotonic`.

        Raises `ResourceExhausted` when they do not fit the queue, `Unavailable` once closed.
        """
        items = [_Item(tokens, deadline) for tokens in texts]
        with self._changed:
            if self._closing:
                raise Unavailable("this model version takes no more requests")
            self._check_room(items)
            for item in items:
                self._buckets.setdefault(_bucket(len(item.tokens)), []).append(item)
            self._changed.notify_all()
        return Ticket(items)

    def load(self) -> Load:
        with self._changed:
            waiting = self._waiting()
            oldest = min((item.arrived for item in waiting), default=None)
            return Load(
                running=self._running,
                waiting=len(waiting),
                waiting_tokens=sum(len(item.tokens) for item in waiting),
                oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
            )

    def close(self, grace_seconds: float = 0.0) -> None:
        """Take no more; compute what waits within the grace, refuse the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._buckets and not self._running, timeout=grace_seconds)
            left, self._buckets = self._waiting(), {}
            self._changed.notify_all()
        for item in left:
            if item.future.set_running_or_notify_cancel():
                item.future.set_exception(Unavailable("this model version was unloaded"))
        self._thread.join()

    def _waiting(self) -> list[_Item]:
        return [item for bucket in self._buckets.values() for item in bucket]

    def _check_room(self, items: Sequence[_Item]) -> None:
        waiting = self._waiting()
        for name, value, limit in (
            ("texts", len(waiting) + len(items), self._limits.waiting_texts),
            ("tokens", sum(len(item.tokens) for item in (*waiting, *items)), self._limits.waiting_tokens),
        ):
            if value > limit and waiting:
                raise ResourceExhausted(
                    f"the queue is full: {value} {name} would wait, the limit is {limit}",
                    retry_seconds=0.5,
                    limit=limit,
                )

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = self._next_batch()
                if batch is None:
                    return
                self._running = len(batch)
            self._answer(batch)
            with self._changed:
                self._running = 0
                self._changed.notify_all()

    def _next_batch(self) -> list[_Item] | None:
        """Wait for a full bucket, or for the oldest text's budget to run out; None when closed and empty."""
        while True:
            if not self._buckets:
                if self._closing:
                    return None
                self._changed.wait()
                continue
            length = max(self._buckets, key=lambda length: len(self._buckets[length]))
            if len(self._buckets[length]) < self._limits.batch:
                length = min(self._buckets, key=lambda length: self._buckets[length][0].arrived)
                due = self._buckets[length][0].arrived + self._limits.budget_seconds
                left = due - time.monotonic()
                if left > 0 and not self._closing:
                    self._changed.wait(left)
                    continue
            return self._take(length)

    def _take(self, length: int) -> list[_Item]:
        waiting = self._buckets.pop(length)
        batch, rest = waiting[: self._limits.batch], waiting[self._limits.batch :]
        if rest:
            self._buckets[length] = rest
        return batch

    def _answer(self, batch: Sequence[_Item]) -> None:
        now = time.monotonic()
        alive = [item for item in batch if _still_wanted(item, now)]
        if not alive:
            return
        for item in alive:
            item.started = now
        try:
            rows = self._compute.run(lambda: self._encode([item.tokens for item in alive]))
        except Exception as error:
            for item in alive:
                item.future.set_exception(error)
            return
        for item, row in zip(alive, rows, strict=True):
            item.future.set_result(row)


def _still_wanted(item: _Item, now: float) -> bool:
    if not item.future.set_running_or_notify_cancel():
        return False
    if item.deadline is not None and now >= item.deadline:
        item.future.set_exception(DeadlineExceeded("the deadline passed while the text waited"))
        return False
    return True


def _bucket(length: int) -> int:
    return max(SHORTEST_BUCKET, 1 << (length - 1).bit_length())
