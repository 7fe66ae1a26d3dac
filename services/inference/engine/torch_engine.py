"""Continuous batching with torch: every step serves all running requests and parts of new prompts.

The method is that of Orca (Yu et al., OSDI 2022) with chunked prefill (Sarathi, Agrawal et al. 2023).
"""

import threading
import time
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from services.inference.engine.compute import ComputeThread
from services.inference.engine.forward import Forward
from services.inference.engine.interface import FinishReason, GenerationRequest, Load, Stream
from services.inference.engine.sampling import Drawn, sample
from services.inference.engine.scheduler import Limits, Scheduler
from services.inference.engine.sequence import RequestSequence
from services.inference.engine.step import Segment, Step
from shared.errors import AlreadyExists, InvalidArgument, Unavailable
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
Plan = list[tuple[RequestSequence, Segment]]


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
        on_token: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`on_token` hears, for each token but the first, the seconds since the one before it."""
        self.max_length = limits.max_length
        self._forward = forward
        self._tokenizer = tokenizer
        self._eos = eos
        self._compute = compute
        self._on_token = on_token
        self._scheduler = Scheduler(limits, forward.cache)
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Stream:
        """See `Engine.submit`. Also `Unavailable` once the engine closes, `AlreadyExists` for an id in use."""
        self._check_prompt(request.prompt)
        with self._changed:
            if self._closing:
                raise Unavailable("this model version takes no more requests")
            if self._scheduler.find(request.id):
                raise AlreadyExists(f"request {request.id!r} is running", request_id=request.id)
            room = self.max_length - len(request.prompt)
            wish = request.stopping.max_tokens
            max_new = room if wish is None else min(wish, room)
            self._scheduler.check_size(len(request.prompt) + max_new)
            self._scheduler.check_room(len(request.prompt))
            stream = Stream(request.id, len(self._scheduler.waiting))
            self._scheduler.add(RequestSequence(request, stream, self._tokenizer, self._eos, max_new))
            self._changed.notify_all()
        return stream

    def cancel(self, request_id: str) -> bool:
        with self._changed:
            sequence = self._scheduler.find(request_id)
            if sequence is not None:
                sequence.cancelled = True
            return sequence is not None

    def load(self) -> Load:
        with self._changed:
            return self._scheduler.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._scheduler.empty, timeout=grace_seconds)
            for sequence in (*self._scheduler.running, *self._scheduler.waiting):
                sequence.cancelled = True
        self._thread.join()

    def _check_prompt(self, prompt: tuple[int, ...]) -> None:
        if not prompt:
            raise InvalidArgument("the prompt is empty", field="prompt")
        if len(prompt) >= self.max_length:
            raise InvalidArgument(
                f"the prompt has {len(prompt)} tokens; at most {self.max_length - 1} fit this model",
                field="prompt",
                limit=self.max_length - 1,
            )
        vocabulary = self._forward.vocabulary
        strange = next((token for token in prompt if not 0 <= token < vocabulary), None)
        if strange is not None:
            raise InvalidArgument(f"token id {strange} is outside the vocabulary of {vocabulary}", field="token_ids")

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            log.exception("engine ended")
            with self._changed:
                self._closing = True
                for sequence in (*self._scheduler.running, *self._scheduler.waiting):
                    sequence.finish(FinishReason.ERROR, f"the engine ended: {error}")

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or not self._scheduler.empty)
                if self._scheduler.empty:
                    return
            self._compute.run(self._step)

    @torch.inference_mode()
    def _step(self) -> None:
        with self._changed:
            self._end_interrupted()
            plan = self._scheduler.plan()
        if plan:
            self._advance(plan)

    def _end_interrupted(self) -> None:
        now = time.monotonic()
        for sequence in (*self._scheduler.running, *self._scheduler.waiting):
            reason = sequence.interrupted(now)
            if reason is not None:
                self._end(sequence, reason)

    def _advance(self, plan: Plan) -> None:
        try:
            tokens = self._next_tokens(plan)
        except Exception as error:
            log.exception("engine step failed", requests=len(plan))
            with self._changed:
                for sequence, _ in plan:
                    self._end(sequence, FinishReason.ERROR, f"the engine failed: {error}")
            return
        with self._changed:
            for sequence, segment in plan:
                sequence.cached = segment.end
            for sequence, drawn in tokens:
                self._take(sequence, drawn)

    def _next_tokens(self, plan: Plan) -> list[tuple[RequestSequence, Drawn | None]]:
        step = Step([segment for _, segment in plan], self._forward.cache)
        wanted = [sequence for sequence, segment in plan if segment.wanted]
        logits = self._forward(step)
        if not wanted:
            return []
        drawn = sample(logits, [sequence.row() for sequence in wanted])
        return list(zip(wanted, drawn, strict=True))

    def _take(self, sequence: RequestSequence, drawn: Drawn | None) -> None:
        if drawn is None:
            self._end(sequence, FinishReason.ERROR, "the model gave values that are not finite")
            return
        if sequence.last_token_at is not None:
            self._on_token(time.monotonic() - sequence.last_token_at)
        reason = sequence.take(drawn.token)
        if reason is not None:
            self._end(sequence, reason)

    def _end(self, sequence: RequestSequence, reason: FinishReason, error: str = "") -> None:
        self._scheduler.remove(sequence, poisoned=reason is FinishReason.ERROR)
        sequence.finish(reason, error)
        self._changed.notify_all()
