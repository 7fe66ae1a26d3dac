"""Who computes in the next step: running answers first, then prompts by rank.

A request is admitted when the pages for its prompt and its longest answer can be promised; it takes them as it
grows. So nothing ever has to be taken back from a running stream, and memory can't run out in the middle of one.
"""

import time
from dataclasses import dataclass

from services.inference.engine.admission import Pace
from services.inference.engine.answer import Answer
from services.inference.engine.cache import PAGE, PagedCache, pages_for
from services.inference.engine.interface import GenerationRequest, Load
from services.inference.engine.paging import Paging
from services.inference.engine.sequence import RequestSequence
from services.inference.engine.step import Segment
from shared.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted

AGEING_SECONDS = 2.0  # for each of these that a request waits, it counts as one priority higher
ECHO_CHUNK = 64  # prompt tokens a step whose logits are wanted: a row of them is a vocabulary wide


@dataclass(frozen=True)
class Limits:
    """Bounds of an engine, in requests and tokens.

    `slots` answers run at once, over `cache_tokens` cached positions (0: room for 16 of the longest).
    `busy_chunk` and `idle_chunk` bound the prompt tokens of a step while others decode and while none does;
    beside others the chunk is cut so that a step takes about `step_seconds`: a long prompt may slow running answers
    down, but not stop them. `speculate` tokens are guessed for each of at most `speculate_slots` running answers;
    `reuse` shares pages between equal beginnings.
    """

    slots: int = 64
    max_length: int = 2048
    cache_tokens: int = 0
    waiting_requests: int = 256
    waiting_tokens: int = 65_536
    busy_chunk: int = 512
    idle_chunk: int = 512
    step_seconds: float = 0.08
    speculate: int = 4
    speculate_slots: int = 2
    reuse: bool = True

    @property
    def pages(self) -> int:
        """Pages of the cache."""
        longest = min(self.slots, 16) * pages_for(self.max_length)
        return max(1, self.cache_tokens // PAGE) if self.cache_tokens else longest


@dataclass(frozen=True, slots=True)
class Work:
    """What an answer computes in a step."""

    sequence: RequestSequence
    answer: Answer
    segment: Segment


class Scheduler:
    """The queue and the running requests. Not safe for threads; the engine guards it with its lock."""

    def __init__(self, limits: Limits, cache: PagedCache) -> None:
        self.running: list[RequestSequence] = []
        self.waiting: list[RequestSequence] = []
        self.pace = Pace()
        self._limits = limits
        self._cache = cache
        self.paging = Paging(cache, limits.reuse)
        self._waiting_tokens = 0
        self._pinned = 0

    @property
    def empty(self) -> bool:
        return not self.running and not self.waiting

    def add(self, sequence: RequestSequence) -> None:
        self.waiting.append(sequence)
        self._waiting_tokens += sequence.prompt_tokens
        self.paging.reserve(sequence)

    def find(self, request_id: str) -> RequestSequence | None:
        return next((one for one in (*self.running, *self.waiting) if one.request.id == request_id), None)

    def check(self, request: GenerationRequest, longest: int) -> None:
        """Raises why a request that may come to `longest` tokens can't wait here; see `Engine.submit`."""
        self._check_size(request, longest)
        self._check_room(len(request.prompt))
        if request.deadline is not None:
            self._check_deadline(request, request.deadline - time.monotonic())

    def remove(self, sequence: RequestSequence, poisoned: bool = False) -> None:
        """Take a request out and give its pages back; those of a poisoned one are zeroed before their next use."""
        if sequence in self.waiting:
            self._unqueue(sequence)
            self.paging.give_back(sequence)
            return
        self.running.remove(sequence)
        for answer in sequence.answers:
            self.paging.release(answer, poisoned)

    def plan(self) -> list[Work]:
        """Admit whom there is room for and choose the tokens of the next step."""
        now = time.monotonic()
        self._admit_fitting(now)
        decoding = [(one, answer) for one in self.running if one.forked for answer in one.running]
        guesses = self._limits.speculate if len(decoding) <= self._limits.speculate_slots else 0
        plan = [self._decode(one, answer, guesses) for one, answer in decoding]
        prefilling = [one for one in self.running if not one.forked]
        if not prefilling:
            return plan
        limits = self._limits
        budget = limits.idle_chunk
        if decoding:
            pending = self._waiting_tokens + sum(one.prompt_tokens - one.first.cached for one in prefilling)
            crowd = len(prefilling) / len(self.running)
            budget = self.pace.chunk(limits.step_seconds, limits.busy_chunk, pending, crowd)
        for one in sorted(prefilling, key=lambda one: _rank(one, now)):
            if budget <= 0:
                break
            work = self._prefill(one, budget)
            budget -= len(work.segment.tokens)
            plan.append(work)
        return plan

    def load(self, version: str | None = None) -> Load:
        """Of all requests, or of those that run for one version."""
        waiting = [one for one in self.waiting if version in (None, one.request.version)]
        oldest = min((one.arrived for one in waiting), default=None)
        return Load(
            running=sum(version in (None, one.request.version) for one in self.running),
            waiting=len(waiting),
            waiting_tokens=sum(one.prompt_tokens for one in waiting),
            cache_used=self._cache.used / self._cache.pages,
            oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
        )

    @property
    def room(self) -> int:
        """Pages that are promised to nobody."""
        return self._cache.available - sum(one.outstanding for one in self.running)

    @property
    def lasting(self) -> int:
        """Pages that requests may have in all."""
        return self._cache.pages - self._pinned

    def pin(self, pages: int) -> None:
        """So many pages more, or less, are held for good and no request can have them."""
        self._pinned += pages

    def _admit_fitting(self, now: float) -> None:
        """In order of rank and without overtaking, so that a large request gets its turn."""
        if not self.waiting:
            return
        slots = self._limits.slots - sum(one.width for one in self.running)
        if slots <= 0:
            return
        promised = sum(one.outstanding for one in self.running)
        for sequence in sorted(self.waiting, key=lambda one: _rank(one, now)):
            wide = sequence.width > slots and self.running
            if wide or promised + sequence.outstanding - self.paging.held_by_others(sequence) > self._cache.available:
                return
            self._unqueue(sequence)
            sequence.admitted = now
            self.running.append(sequence)
            self.paging.adopt(sequence)
            promised += sequence.outstanding
            slots -= sequence.width

    def _decode(self, sequence: RequestSequence, answer: Answer, guesses: int) -> Work:
        tokens: list[int] = [answer.generated[-1]]
        if guesses:
            tokens += answer.propose(guesses)
        else:
            answer.proposed = []
        return self._work(sequence, answer, tokens, len(tokens))

    def _prefill(self, sequence: RequestSequence, limit: int) -> Work:
        self.paging.adopt(sequence)
        answer, prompt = sequence.first, sequence.request.prompt
        if sequence.wants_prompt_logprobs:
            limit = min(limit, ECHO_CHUNK)
        tokens = prompt[answer.cached : answer.cached + limit]
        last = answer.cached + len(tokens) == len(prompt)
        wanted = len(tokens) if sequence.wants_prompt_logprobs else int(last)
        return self._work(sequence, answer, tokens, wanted)

    def _work(
        self, sequence: RequestSequence, answer: Answer, tokens: list[int] | tuple[int, ...], wanted: int
    ) -> Work:
        self.paging.grow(answer, answer.cached + len(tokens))
        return Work(sequence, answer, Segment(answer.pages, answer.cached, tokens, wanted, sequence.adapter))

    def _check_size(self, request: GenerationRequest, longest: int) -> None:
        width = max(request.n, request.sampling.num_beams)
        shared = len(request.prompt) // PAGE
        needed = shared + width * (pages_for(longest) - shared)
        pages = self.lasting
        if needed > pages:
            raise InvalidArgument(
                f"prompt and answers may take {needed * PAGE} cached positions, the cache has "
                f"{pages * PAGE}: lower max_tokens, n or num_beams",
                field="stopping.max_tokens",
                limit=pages * PAGE,
            )

    def _check_room(self, prompt_tokens: int) -> None:
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

    def _check_deadline(self, request: GenerationRequest, seconds: float) -> None:
        """Refuse what would wait past its deadline: another server, or this one later, may still be in time."""
        if seconds <= 0:
            raise DeadlineExceeded("the deadline had passed when the request came")
        ahead = [one for one in self.waiting if one.request.priority >= request.priority]
        filling = [one for one in self.running if not one.forked]
        prompts = sum(one.prompt_tokens - one.first.cached for one in (*ahead, *filling)) + len(request.prompt)
        remaining = [answer.max_new - len(answer.generated) for one in self.running for answer in one.running]
        position = sum(one.width for one in (*self.running, *ahead)) + 1 - self._limits.slots
        wait = self.pace.wait(prompts, position, remaining)
        if wait > seconds:
            raise ResourceExhausted(
                f"the first token would come after about {wait:.1f} s, the deadline is in {seconds:.1f} s",
                retry_seconds=max(wait - seconds, 0.1),
            )

    def _unqueue(self, sequence: RequestSequence) -> None:
        self.waiting.remove(sequence)
        self._waiting_tokens -= sequence.prompt_tokens


def _rank(sequence: RequestSequence, now: float) -> tuple[int, float, float]:
    """Smaller goes first: priority raised by waiting, then the earlier deadline, then arrival."""
    aged = sequence.request.priority + int((now - sequence.arrived) / AGEING_SECONDS)
    deadline = float("inf") if sequence.request.deadline is None else sequence.request.deadline
    return (-aged, deadline, sequence.arrived)
