"""Who computes in the next step: running requests first, then prompts in order of priority and arrival.

Slots of running requests are dense: slot i belongs to `running[i]`.
"""

import bisect
import time
from dataclasses import dataclass

from services.inference.engine.cache import SlotCache
from services.inference.engine.interface import Load
from services.inference.engine.sequence import RequestSequence
from services.inference.engine.step import Segment
from shared.errors import ResourceExhausted


@dataclass(frozen=True)
class Limits:
    """Bounds of an engine, in requests and tokens.

    `busy_chunk` and `idle_chunk` bound the prompt tokens of a step while others decode and while none
    does: a long prompt may slow running answers down, but not stop them.
    """

    slots: int = 16
    max_length: int = 2048
    waiting_requests: int = 256
    waiting_tokens: int = 65_536
    busy_chunk: int = 128
    idle_chunk: int = 512


class Scheduler:
    """The queue and the slots. Not safe for threads; the engine guards it with its lock."""

    def __init__(self, limits: Limits, cache: SlotCache) -> None:
        self.running: list[RequestSequence] = []
        self.waiting: list[RequestSequence] = []
        self._limits = limits
        self._cache = cache
        self._waiting_tokens = 0

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
        """Take a request out; its slot is filled with the last one, so that slots stay dense."""
        if sequence in self.waiting:
            self._unqueue(sequence)
            return
        slot = sequence.slot
        assert self.running[slot] is sequence
        if poisoned:
            self._cache.clear(slot, self._limits.max_length)
        last = self.running.pop()
        if last is not sequence:
            self._cache.move(last.slot, slot, last.cached)
            last.slot, self.running[slot] = slot, last

    def plan(self) -> list[tuple[RequestSequence, Segment]]:
        """Admit whom a slot is free for and choose the tokens of the next step."""
        while self.waiting and len(self.running) < self._limits.slots:
            self._admit(self.waiting[0])
        decoding = [one for one in self.running if one.generated]
        plan = [(one, _segment(one, 1)) for one in decoding]
        budget = self._limits.busy_chunk if decoding else self._limits.idle_chunk
        prefilling = [one for one in self.running if not one.generated]
        for one in sorted(prefilling, key=lambda one: (-one.request.priority, one.arrived)):
            if budget <= 0:
                break
            segment = _segment(one, budget)
            budget -= len(segment.tokens)
            plan.append((one, segment))
        return plan

    def load(self) -> Load:
        capacity = self._limits.slots * self._limits.max_length
        oldest = min((one.arrived for one in self.waiting), default=None)
        return Load(
            running=len(self.running),
            waiting=len(self.waiting),
            waiting_tokens=self._waiting_tokens,
            cache_used=sum(one.cached for one in self.running) / capacity,
            oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
        )

    def _admit(self, sequence: RequestSequence) -> None:
        self._unqueue(sequence)
        sequence.slot, sequence.admitted = len(self.running), time.monotonic()
        self.running.append(sequence)

    def _unqueue(self, sequence: RequestSequence) -> None:
        self.waiting.remove(sequence)
        self._waiting_tokens -= len(sequence.request.prompt)


def _segment(sequence: RequestSequence, limit: int) -> Segment:
    tokens = sequence.next_tokens(limit)
    wanted = sequence.cached + len(tokens) == sequence.length
    return Segment(sequence.slot, sequence.cached, tokens, wanted)
