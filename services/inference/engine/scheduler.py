"""Who computes in the next step: running requests first, then prompts in order of priority and arrival.

A request is admitted when the pages for its prompt and its longest answer can be promised; it takes them as it
grows. So nothing ever has to be taken back from a running stream.
"""

import bisect
import time
from dataclasses import dataclass

from services.inference.engine.cache import PAGE, PagedCache, pages_for
from services.inference.engine.interface import Load
from services.inference.engine.sequence import RequestSequence
from services.inference.engine.step import Segment
from shared.errors import InvalidArgument, ResourceExhausted


@dataclass(frozen=True)
class Limits:
    """Bounds of an engine, in requests and tokens.

    `slots` requests run at once, over `cache_tokens` cached positions (0: room for `slots` of the longest).
    `busy_chunk` and `idle_chunk` bound the prompt tokens of a step while others decode and while none
    does: a long prompt may slow running answers down, but not stop them.
    """

    slots: int = 16
    max_length: int = 2048
    cache_tokens: int = 0
    waiting_requests: int = 256
    waiting_tokens: int = 65_536
    busy_chunk: int = 128
    idle_chunk: int = 512

    @property
    def pages(self) -> int:
        """Pages of the cache."""
        return max(1, self.cache_tokens // PAGE) if self.cache_tokens else self.slots * pages_for(self.max_length)


class Scheduler:
    """The queue, the running requests and their pages. Not safe for threads; the engine guards it with its lock."""

    def __init__(self, limits: Limits, cache: PagedCache) -> None:
        self.running: list[RequestSequence] = []
        self.waiting: list[RequestSequence] = []
        self._limits = limits
        self._cache = cache
        self._waiting_tokens = 0
        self._promised = 0

    @property
    def empty(self) -> bool:
        return not self.running and not self.waiting

    def add(self, sequence: RequestSequence) -> None:
        bisect.insort(self.waiting, sequence, key=lambda one: -one.request.priority)
        self._waiting_tokens += len(sequence.request.prompt)

    def check_room(self, prompt_tokens: int) -> None:
        """Raises `ResourceExhausted` when one more request of this length may not wait here."""
        free = self._limits.slots - len(self.running)
        if len(self.waiting) < free:
            return
        for name, value, limit in (
            ("requests", len(self.waiting) - free + 1, self._limits.waiting_requests),
            ("tokens", self._waiting_tokens + prompt_tokens, self._limits.waiting_tokens),
        ):
            if value > limit:
                raise ResourceExhausted(
                    f"the queue is full: {value} {name} would wait, the limit is {limit}",
                    retry_seconds=1.0,
                    limit=limit,
                )

    def find(self, request_id: str) -> RequestSequence | None:
        return next((one for one in (*self.running, *self.waiting) if one.request.id == request_id), None)

    def remove(self, sequence: RequestSequence, poisoned: bool = False) -> None:
        """Take a request out and give its pages back."""
        if sequence in self.waiting:
            self._unqueue(sequence)
            return
        self.running.remove(sequence)
        self._promised -= sequence.promised
        for page in sequence.pages:
            if poisoned:
                self._cache.taint(page)
            self._cache.release(page)
        sequence.pages = []

    def check_size(self, tokens: int) -> None:
        """Raises `InvalidArgument` when a request of so many tokens can never run here."""
        if pages_for(tokens) > self._cache.pages:
            limit = self._cache.pages * PAGE
            raise InvalidArgument(
                f"prompt and answer may have {tokens} tokens; the cache holds {limit}: lower max_tokens",
                field="stopping.max_tokens",
                limit=limit,
            )

    def plan(self) -> list[tuple[RequestSequence, Segment]]:
        """Admit whom there is room for and choose the tokens of the next step."""
        while self.waiting and len(self.running) < self._limits.slots and self._fits(self.waiting[0]):
            self._admit(self.waiting[0])
        decoding = [one for one in self.running if one.generated]
        plan = [(one, self._segment(one, 1)) for one in decoding]
        budget = self._limits.busy_chunk if decoding else self._limits.idle_chunk
        prefilling = [one for one in self.running if not one.generated]
        for one in sorted(prefilling, key=lambda one: (-one.request.priority, one.arrived)):
            if budget <= 0:
                break
            segment = self._segment(one, budget)
            budget -= len(segment.tokens)
            plan.append((one, segment))
        return plan

    def load(self) -> Load:
        oldest = min((one.arrived for one in self.waiting), default=None)
        return Load(
            running=len(self.running),
            waiting=len(self.waiting),
            waiting_tokens=self._waiting_tokens,
            cache_used=self._cache.used / self._cache.pages,
            oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
        )

    def _fits(self, sequence: RequestSequence) -> bool:
        return pages_for(sequence.longest) <= self._cache.pages - self._promised

    def _admit(self, sequence: RequestSequence) -> None:
        self._unqueue(sequence)
        sequence.promised, sequence.admitted = pages_for(sequence.longest), time.monotonic()
        self._promised += sequence.promised
        self.running.append(sequence)

    def _segment(self, sequence: RequestSequence, limit: int) -> Segment:
        tokens = sequence.next_tokens(limit)
        end = sequence.cached + len(tokens)
        while len(sequence.pages) < pages_for(end):
            sequence.pages.append(self._cache.allocate())
        return Segment(sequence.pages, sequence.cached, tokens, int(end == sequence.length))

    def _unqueue(self, sequence: RequestSequence) -> None:
        self.waiting.remove(sequence)
        self._waiting_tokens -= len(sequence.request.prompt)
