"""Continuous batching with torch: every step serves all running requests and parts of new prompts.

The method is that of Orca (Yu et al., OSDI 2022) with chunked prefill (Sarathi, Agrawal et al. 2023).
"""

import threading
import time
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from services.inference.engine.answer import Answer
from services.inference.engine.cache import PAGE, pages_for
from services.inference.engine.choosing import Outcome, choose
from services.inference.engine.compute import ComputeThread
from services.inference.engine.constraints import Grammars
from services.inference.engine.forward import Forward
from services.inference.engine.interface import FinishReason, GenerationRequest, Load, Stream
from services.inference.engine.penalties import check_tokens
from services.inference.engine.presets import HeldPreset, Preset
from services.inference.engine.sampling import Drawn
from services.inference.engine.scheduler import Limits, Scheduler, Work
from services.inference.engine.sequence import RequestSequence
from services.inference.engine.step import Adapter, Step
from shared.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds before the engine starts again
ROOM_SECONDS = 10.0  # so long a new preset waits for pages that requests give back
CALM_SECONDS = 60.0  # so long without a fault, the next pause is the shortest again
Plan = list[Work]
Failure = tuple[RequestSequence, Exception]


class TorchEngine:
    """An engine in this process. Its thread waits for work; the shared compute thread does it."""

    name = "torch"

    def __init__(
        self,
        forward: Forward,
        tokenizer: PreTrainedTokenizerBase,
        eos: frozenset[int],
        limits: Limits,
        compute: ComputeThread,
        on_health: Callable[[bool], None] = lambda healthy: None,
    ) -> None:
        """`on_health` hears False when the engine has stopped and True when it serves again."""
        self.max_length = min(limits.max_length, forward.cache.capacity)
        self.healthy = True
        self._forward = forward
        self._tokenizer = tokenizer
        self._eos = eos
        self._limits = limits
        self._compute = compute
        self._on_health = on_health
        self._grammars = Grammars(tokenizer, eos, forward.vocabulary)
        self._adapters: dict[str, Adapter] = {}
        self._presets: dict[str, HeldPreset] = {}
        self._scheduler = Scheduler(limits, forward.cache)
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def add_adapter(self, adapter: Adapter | Preset) -> None:
        """From now on requests may name it, by its digest. A preset waits for room in the cache.

        Raises ResourceExhausted when there is none, DataCorrupted for a preset of another model.
        """
        with self._changed:
            if isinstance(adapter, Preset):
                if adapter.digest not in self._presets:
                    self._wait_for_room(pages_for(adapter.length))
                    self._hold(HeldPreset(adapter))
            else:
                self._adapters[adapter.digest] = adapter

    def remove_adapter(self, digest: str) -> None:
        """Requests may not name it any more; those that run keep it until they end."""
        with self._changed:
            self._adapters.pop(digest, None)
            if (held := self._presets.pop(digest, None)) is not None:
                self._scheduler.pin(-len(held.pages))
                held.release(self._forward.cache)

    def submit(self, request: GenerationRequest) -> Stream:
        """See `Engine.submit`. Also `NotFound` for an adapter that is not here."""
        with self._changed:
            preset = self._presets.get(request.adapter or "")
        positions = self.max_length - (preset.length if preset else 0)
        self._check_prompt(request.prompt, positions)
        check_tokens("sampling.logit_bias", request.sampling.logit_bias, self._forward.vocabulary)
        check_tokens("stopping.stop_token_ids", request.stopping.stop_token_ids, self._forward.vocabulary)
        constraint = None if request.constraint is None else self._grammars.start(request.constraint)
        room = positions - len(request.prompt)
        wish = request.stopping.max_tokens
        max_new = room if wish is None else min(wish, room)
        with self._changed:
            if self._closing:
                raise Unavailable("this model version takes no more requests")
            if not self.healthy:
                raise Unavailable("the engine has stopped and starts again")
            if self._scheduler.find(request.id):
                raise AlreadyExists(f"request {request.id!r} is running", request_id=request.id)
            adapter = self._adapters.get(request.adapter or "")
            preset = self._presets.get(request.adapter or "")
            if request.adapter is not None and adapter is None and preset is None:
                raise NotFound(f"adapter {request.adapter[:12]} is not loaded", adapter=request.adapter)
            self._scheduler.check(request, self.max_length - room + max_new)
            stream = Stream(request.id, len(self._scheduler.waiting))
            sequence = RequestSequence(
                request, stream, self._tokenizer, self._eos, max_new, constraint, adapter, preset
            )
            self._scheduler.add(sequence)
            self._changed.notify_all()
        return stream

    def cancel(self, request_id: str) -> bool:
        with self._changed:
            sequence = self._scheduler.find(request_id)
            if sequence is not None:
                sequence.cancelled = True
            return sequence is not None

    def load(self, version: str | None = None) -> Load:
        """Of all requests, or of those that run for one version."""
        with self._changed:
            return self._scheduler.load(version)

    def end(self, version: str, grace_seconds: float = 0.0) -> None:
        """Let the requests of one version finish within the grace, and cancel the rest; others go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._scheduler.load(version).idle, timeout=grace_seconds)
            for sequence in (*self._scheduler.running, *self._scheduler.waiting):
                if sequence.request.version == version:
                    sequence.cancelled = True

    def close(self, grace_seconds: float = 0.0) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._scheduler.empty, timeout=grace_seconds)
            for sequence in (*self._scheduler.running, *self._scheduler.waiting):
                sequence.cancelled = True
        self._thread.join()

    def _wait_for_room(self, pages: int) -> None:
        """Pages that are promised to running requests stay theirs, and one of the longest must always fit."""
        lasting = self._scheduler.lasting - pages
        if lasting < pages_for(self.max_length) or not self._changed.wait_for(
            lambda: self._scheduler.room >= pages, timeout=ROOM_SECONDS
        ):
            raise ResourceExhausted(
                f"the cache has no room for {pages * PAGE} positions more that a version holds for good: unload one, "
                "or raise FLYWHEEL_CACHE_BYTES",
                retry_seconds=ROOM_SECONDS,
            )

    @torch.no_grad()
    def _hold(self, held: HeldPreset) -> None:
        held.hold(self._forward.cache)
        self._presets[held.preset.digest] = held
        self._scheduler.pin(len(held.pages))

    def _check_prompt(self, prompt: tuple[int, ...], positions: int) -> None:
        if not prompt:
            raise InvalidArgument("the prompt is empty", field="prompt")
        if len(prompt) >= positions:
            raise InvalidArgument(
                f"the prompt has {len(prompt)} tokens; at most {positions - 1} fit this model",
                field="prompt",
                limit=positions - 1,
            )
        vocabulary = self._forward.vocabulary
        if min(prompt) < 0 or max(prompt) >= vocabulary:
            strange = next(token for token in prompt if not 0 <= token < vocabulary)
            raise InvalidArgument(f"token id {strange} is outside the vocabulary of {vocabulary}", field="token_ids")

    def _run(self) -> None:
        pause, since = SHORTEST_PAUSE, time.monotonic()
        while True:
            try:
                self._serve()
                return
            except BaseException as error:  # whatever it was, nobody may wait for ever
                log.exception("engine stopped")
                now = time.monotonic()
                pause, since = SHORTEST_PAUSE if now - since > CALM_SECONDS else min(2 * pause, LONGEST_PAUSE), now
                self._recover(error, pause)

    def _recover(self, error: BaseException, pause: float) -> None:
        """End what was here with `Unavailable`, and begin again with an empty cache."""
        with self._changed:
            self.healthy = False
            gone = Unavailable(f"the engine stopped: {error}", retry_seconds=pause)
            for sequence in (*self._scheduler.running, *self._scheduler.waiting):
                sequence.fail(gone)
            self._forward.cache.reset()
            self._scheduler = Scheduler(self._limits, self._forward.cache)
            for held in self._presets.values():
                self._hold(held)
            self._changed.notify_all()
        self._on_health(False)
        with self._changed:
            self._changed.wait_for(lambda: self._closing, timeout=pause)
            self.healthy = True
        self._on_health(True)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or not self._scheduler.empty)
                if self._scheduler.empty:
                    return
            self._compute.run(self._steps)

    @torch.inference_mode()
    def _steps(self) -> None:
        """Steps as long as there is work and nobody else waits for the thread."""
        while self._step() and not self._compute.wanted:
            pass

    def _step(self) -> bool:
        with self._changed:
            self._end_interrupted()
            plan = self._scheduler.plan()
        if plan:
            began = time.monotonic()
            outcomes, failures = self._outcomes(plan)
            with self._changed:
                self._measure(plan, time.monotonic() - began)
                self._apply(plan, outcomes, failures)
        return bool(plan)

    def _end_interrupted(self) -> None:
        now = time.monotonic()
        for sequence in (*self._scheduler.running, *self._scheduler.waiting):
            reason = sequence.interrupted(now)
            if reason is not None:
                self._end(sequence, reason)

    def _outcomes(self, plan: Plan) -> tuple[list[Outcome], list[Failure]]:
        """What the step gives each request. When it fails, each alone: one request must not end the others."""
        try:
            return self._compute_step(plan), []
        except Exception:
            log.exception("engine step failed", works=len(plan))
        outcomes: list[Outcome] = []
        failures: list[Failure] = []
        alone: dict[str, Plan] = {}
        for work in plan:
            alone.setdefault(work.sequence.request.id, []).append(work)
        for works in alone.values():
            try:
                outcomes += self._compute_step(works)
            except Exception as error:
                failures.append((works[0].sequence, error))
        return outcomes, failures

    def _compute_step(self, plan: Plan) -> list[Outcome]:
        logits = self._forward(Step([work.segment for work in plan], self._forward.cache))
        outcomes = choose(plan, logits)
        if logits.is_cuda and not outcomes:  # nothing was read back, so the step may still be under way
            torch.cuda.synchronize(logits.device)
        return outcomes

    def _measure(self, plan: Plan, seconds: float) -> None:
        filling = sum(len(work.segment.tokens) for work in plan if not work.sequence.forked)
        self._scheduler.pace.observe_step(seconds, filling)

    def _apply(self, plan: Plan, outcomes: list[Outcome], failures: list[Failure]) -> None:
        failed = {sequence.request.id for sequence, _ in failures}
        for sequence, error in failures:
            self._fail(sequence, error)
        for work in plan:
            if work.sequence.request.id not in failed and not work.answer.proposed:
                self._advance(work, len(work.segment.tokens))
        works = {id(work.answer): work for work in plan if work.answer.proposed}
        now = time.monotonic()
        for outcome in outcomes:
            trouble = outcome.trouble()
            if trouble:
                self._end(outcome.sequence, FinishReason.ERROR, trouble)
            elif outcome.beams is not None:
                self._grow_beams(outcome, now)
            else:
                self._grow(outcome, works, now)

    def _advance(self, work: Work, tokens: int) -> None:
        """So many of the step's tokens count."""
        self._scheduler.paging.advance(work.sequence, work.answer, work.segment.start + tokens)

    def _grow(self, outcome: Outcome, works: dict[int, Work], now: float) -> None:
        """Give each answer its tokens. An answer that ends gives its pages back at once."""
        sequence = outcome.sequence
        if not sequence.forked:
            self._scheduler.paging.fork(sequence)
            sequence.start(now)
        for answer, drawn in outcome.drawn:
            if answer.proposed:
                drawn = answer.accept(drawn)
                self._advance(works[id(answer)], len(drawn) - drawn.count(None))
            reason = self._take(sequence, answer, drawn, now)
            if reason is not None:
                answer.finish(reason, sequence.stream)
                self._scheduler.paging.release(answer)
                self._scheduler.pace.observe_answer(len(answer.generated) / answer.max_new)
        if all(answer.reason is not None for answer in sequence.answers):
            self._scheduler.remove(sequence)
            sequence.finish()
            self._changed.notify_all()

    def _take(
        self, sequence: RequestSequence, answer: Answer, drawn: list[Drawn | None], now: float
    ) -> FinishReason | None:
        for one in drawn:
            if one is None:  # behind a right guess; the next step will find it again and end the request
                break
            if answer.last_token_at is not None:
                sequence.request.on_token(now - answer.last_token_at)
            answer.last_token_at = now
            reason = answer.take(one, sequence.stream)
            if reason is not None:
                return reason
        return None

    def _grow_beams(self, outcome: Outcome, now: float) -> None:
        sequence, going = outcome.sequence, outcome.beams
        assert sequence.beams is not None
        assert going is not None
        if sequence.beams.done:
            sequence.start(now)
            self._scheduler.remove(sequence)
            sequence.finish_beams()
            sequence.finish()
            self._changed.notify_all()
            return
        self._scheduler.paging.rebranch(sequence, [one.parent for one in going], [one.token for one in going])

    def _fail(self, sequence: RequestSequence, error: Exception) -> None:
        if _out_of_memory(error):
            self._scheduler.remove(sequence, poisoned=True)
            sequence.fail(ResourceExhausted("the model ran out of memory over this request", retry_seconds=1.0))
            self._changed.notify_all()
        else:
            self._end(sequence, FinishReason.ERROR, f"the engine failed: {error}")

    def _end(self, sequence: RequestSequence, reason: FinishReason, error: str = "") -> None:
        self._scheduler.remove(sequence, poisoned=reason is FinishReason.ERROR)
        sequence.interrupt(reason, error)
        self._changed.notify_all()


def _out_of_memory(error: Exception) -> bool:
    """torch has a type for it on CUDA only; on the CPU it says so in words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
