"""Gathers texts of many requests into batches of similar length.

A full batch goes at once; a lone text waits at most the latency budget for company.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from services.inference.engine.interface import Load
from shared.errors import Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable

SHORTEST_BUCKET = 16
PATIENCE = 20  # budgets after which the oldest text goes before any full batch


class Sized(Protocol):
    def __len__(self) -> int: ...


Text = TypeVar("Text", bound=Sized)
Row = TypeVar("Row")
Result = TypeVar("Result")


class Runs(Protocol):
    """Where batches are computed: the compute thread, or the batcher's own."""

    def run(self, function: Callable[[], Any]) -> Any: ...


class OwnThread:
    """Computes in the thread that asks."""

    def run(self, function: Callable[[], Any]) -> Any:
        return function()


@dataclass(frozen=True)
class BatchLimits:
    """Texts and tokens a batch, seconds a text waits for company, texts and tokens that may wait; threads that each
    compute a batch of their own.

    A batch is short work on purpose: whatever else the process computes waits for it.
    """

    batch: int = 64
    batch_tokens: int = 1024
    budget_seconds: float = 0.002
    waiting_texts: int = 4096
    waiting_tokens: int = 65_536
    workers: int = 1


@dataclass(eq=False)
class Item(Generic[Text, Row]):
    """A text that waits for its row."""

    text: Text
    deadline: float | None
    future: "Future[Row]" = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    dropped: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether anyone still waits for it."""
        return not self.dropped and (self.deadline is None or time.monotonic() < self.deadline)


@dataclass(frozen=True)
class Ticket(Generic[Result]):
    """The pending answer of one request; `decode` makes it of the rows, in the order of the texts."""

    items: Sequence[Item[Any, Any]]
    decode: Callable[[list[Any]], Result]

    def wait(self) -> Result:
        """Blocks until all are computed. Raises `DeadlineExceeded`, `Cancelled` or what the computation raised."""
        try:
            rows = [item.future.result() for item in self.items]
        except CancelledError:
            raise Cancelled("the request was cancelled") from None
        return self.decode(rows)

    def then(self, decode: Callable[[Result], "Further"]) -> "Ticket[Further]":
        """The same texts, with one more step of decoding in the thread that waits."""
        return Ticket(self.items, lambda rows: decode(self.decode(rows)))

    def cancel(self) -> None:
        """Drop what is not being computed yet; long computations also look whether anyone still waits."""
        for item in self.items:
            item.dropped = True
            item.future.cancel()

    @property
    def queue_seconds(self) -> float:
        """How long the text that waited longest has waited for its batch; 0 without texts."""
        now = time.monotonic()
        return max(((item.started or now) - item.arrived for item in self.items), default=0.0)


Further = TypeVar("Further")


@dataclass(eq=False)
class _Bucket(Generic[Text, Row]):
    items: list[Item[Text, Row]] = field(default_factory=list)
    tokens: int = 0

    def is_full(self, limits: BatchLimits) -> bool:
        return len(self.items) >= limits.batch or self.tokens >= limits.batch_tokens

    @property
    def oldest(self) -> float:
        return self.items[0].arrived


class Batcher(Generic[Text, Row]):
    """Threads over buckets. Texts whose `key` is the same may share a batch: by default those of like length,
    up to 16 tokens, 32, 64, …"""

    def __init__(
        self,
        encode: Callable[[Sequence[Text]], Sequence[Row]],
        limits: BatchLimits,
        compute: Runs,
        key: Callable[[Text], Hashable] = lambda text: bucket_of(len(text)),
    ) -> None:
        self._encode = encode
        self._compute = compute
        self._limits = limits
        self._key = key
        self._buckets: dict[Hashable, _Bucket[Text, Row]] = {}
        self._texts = 0
        self._tokens = 0
        self._batches: dict[threading.Thread, Sequence[Item[Text, Row]]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"batcher-{number}", daemon=True)
            for number in range(limits.workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[Text], deadline: float | None) -> Ticket[list[Row]]:
        """Queue texts; `deadline` is on the clock of `time.monotonic`.

        Raises `ResourceExhausted` when they do not fit the queue, `Unavailable` once closed.
        """
        items: list[Item[Text, Row]] = [Item(text, deadline) for text in texts]
        tokens = sum(map(len, texts))
        with self._changed:
            if self._closing:
                raise Unavailable("this model version takes no more requests")
            self._check_room(len(items), tokens)
            for item in items:
                bucket = self._buckets.setdefault(self._key(item.text), _Bucket())
                bucket.items.append(item)
                bucket.tokens += len(item.text)
            self._texts += len(items)
            self._tokens += tokens
            self._changed.notify_all()
        return Ticket(items, lambda rows: rows)

    def load(self) -> Load:
        with self._changed:
            oldest = min((bucket.oldest for bucket in self._buckets.values()), default=None)
            return Load(
                running=sum(map(len, self._batches.values())),
                waiting=self._texts,
                waiting_tokens=self._tokens,
                oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
            )

    @property
    def healthy(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    @property
    def running(self) -> Sequence[Item[Text, Row]]:
        """What is being computed; for `encode`, which may stop when nobody waits any more."""
        return [item for batch in list(self._batches.values()) for item in batch]

    def close(self, grace_seconds: float = 0.0) -> None:
        """Take no more; compute what waits within the grace, refuse the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._buckets and not self._batches, timeout=grace_seconds)
            left = [item for bucket in self._buckets.values() for item in bucket.items]
            self._buckets, self._texts, self._tokens = {}, 0, 0
            self._changed.notify_all()
        for item in left:
            if item.future.set_running_or_notify_cancel():
                item.future.set_exception(Unavailable("this model version was unloaded"))
        for thread in self._threads:
            thread.join()

    def _check_room(self, texts: int, tokens: int) -> None:
        for name, value, limit in (
            ("texts", self._texts + texts, self._limits.waiting_texts),
            ("tokens", self._tokens + tokens, self._limits.waiting_tokens),
        ):
            if value > limit and self._texts:
                raise ResourceExhausted(
                    f"the queue is full: {value} {name} would wait, the limit is {limit}",
                    retry_seconds=0.5,
                    limit=limit,
                )

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                batch = self._next_batch()
                if batch is None:
                    return
                self._batches[me] = batch
            self._answer(batch)
            with self._changed:
                del self._batches[me]
                if self._closing:
                    self._changed.notify_all()

    def _next_batch(self) -> list[Item[Text, Row]] | None:
        """Wait for a full bucket, or for the oldest text's budget to run out; None when closed and empty."""
        while True:
            if not self._buckets:
                if self._closing:
                    return None
                self._changed.wait()
                continue
            now = time.monotonic()
            key, waited = self._choose(now)
            left = self._limits.budget_seconds - waited
            if left > 0 and not self._closing and not self._buckets[key].is_full(self._limits):
                self._changed.wait(left)
                continue
            return self._take(key)

    def _choose(self, now: float) -> tuple[Hashable, float]:
        """The bucket to go next and how long its oldest text has waited: a full one, unless another's oldest
        text has waited much too long."""
        oldest = min(self._buckets, key=lambda key: self._buckets[key].oldest)
        waited = now - self._buckets[oldest].oldest
        if waited < PATIENCE * self._limits.budget_seconds:
            full = (key for key, bucket in self._buckets.items() if bucket.is_full(self._limits))
            chosen = max(full, key=lambda key: self._buckets[key].tokens, default=oldest)
            return chosen, now - self._buckets[chosen].oldest
        return oldest, waited

    def _take(self, key: Hashable) -> list[Item[Text, Row]]:
        bucket = self._buckets[key]
        count = tokens = 0
        for item in bucket.items[: self._limits.batch]:
            if count and tokens + len(item.text) > self._limits.batch_tokens:
                break
            count += 1
            tokens += len(item.text)
        batch, bucket.items = bucket.items[:count], bucket.items[count:]
        bucket.tokens -= tokens
        self._texts -= count
        self._tokens -= tokens
        if not bucket.items:
            del self._buckets[key]
        return batch

    def _answer(self, batch: Sequence[Item[Text, Row]]) -> None:
        now = time.monotonic()
        alive = [item for item in batch if _still_wanted(item, now)]
        if not alive:
            return
        for item in alive:
            item.started = now
        try:
            rows = self._compute.run(lambda: self._encode([item.text for item in alive]))
        except BaseException as error:
            for item in alive:
                item.future.set_exception(error)
            return
        for item, row in zip(alive, rows, strict=True):
            item.future.set_result(row)


def _still_wanted(item: Item[Any, Any], now: float) -> bool:
    if not item.future.set_running_or_notify_cancel():
        return False
    if item.deadline is not None and now >= item.deadline:
        item.future.set_exception(DeadlineExceeded("the deadline passed while the text waited"))
        return False
    return True


def bucket_of(length: int) -> int:
    """The bucket of a text of so many tokens: the power of two above."""
    return max(SHORTEST_BUCKET, 1 << (length - 1).bit_length())
