"""vLLM behind our interface: it batches and computes in a process of its own, this side admits and keeps time.

vLLM's requirements contradict ours (its transformers and torch are other versions), so it lives in an environment
of its own and is spoken to through a pipe. A crash of it ends its requests and nothing else.
"""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from services.inference.engine.interface import FinishReason, GenerationRequest, Load, Stream
from services.inference.engine.penalties import check_tokens
from services.inference.engine.scheduler import Limits
from services.inference.engine.vllm.process import VllmProcess, VllmSettings
from services.inference.engine.vllm.requests import VllmRequest, check_supported
from shared.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from shared.telemetry.logs import get_logger

log = get_logger(__name__)
PAUSE_SECONDS = 5.0  # before a process that ended is started again


class VllmEngine:
    """As many requests as vLLM has places for are with it; the others wait here, in order of priority and arrival."""

    name = "vllm"

    def __init__(
        self,
        settings: VllmSettings,
        tokenizer: PreTrainedTokenizerBase,
        eos: frozenset[int],
        limits: Limits,
        vocabulary: int,
        on_health: Callable[[bool], None] = lambda healthy: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the process and waits until it is ready. Raises FailedPrecondition when it does not start.

        `on_health` hears False when the process ended and
        True when another serves; `on_close` is called at the end.
        """
        self.max_length = limits.max_length
        self._settings, self._tokenizer, self._eos, self._limits = settings, tokenizer, eos, limits
        self._vocabulary = vocabulary
        self._on_health, self._on_close = on_health, on_close
        self._keys = itertools.count()
        self._running: dict[str, VllmRequest] = {}
        self._waiting: list[VllmRequest] = []
        self._last_output: dict[str, float] = {}
        self._changed = threading.Condition()
        self._closing = False
        self.healthy = True
        self._process = VllmProcess(settings)
        self._threads = [
            threading.Thread(target=work, name=f"vllm-{work.__name__.strip('_')}", daemon=True)
            for work in (self._read, self._keep_time)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: GenerationRequest) -> Stream:
        """See `Engine.submit`. Also InvalidArgument for beams and adapters, which this engine does not have."""
        check_supported(request)
        self._check_prompt(request)
        room = self.max_length - len(request.prompt)
        wish = request.stopping.max_tokens
        with self._changed:
            self._check_room(request)
            stream = Stream(request.id, len(self._waiting))
            key, max_new = str(next(self._keys)), room if wish is None else min(wish, room)
            self._waiting.append(VllmRequest(key, request, stream, self._eos, max_new))
            self._waiting.sort(key=lambda one: -one.request.priority)
            self._admit()
            self._changed.notify_all()
        return stream

    def cancel(self, request_id: str) -> bool:
        with self._changed:
            found = self._find(request_id)
            if found is not None:
                self._interrupt(found, FinishReason.CANCELLED)
            return found is not None

    def load(self) -> Load:
        with self._changed:
            oldest = min((one.arrived for one in self._waiting), default=None)
            held = sum(one.tokens for one in self._running.values())
            return Load(
                running=len(self._running),
                waiting=len(self._waiting),
                waiting_tokens=sum(len(one.request.prompt) for one in self._waiting),
                cache_used=min(1.0, held / (self._limits.slots * self.max_length)),
                oldest_wait_seconds=0.0 if oldest is None else time.monotonic() - oldest,
            )

    def close(self, grace_seconds: float = 0.0) -> None:
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: not self._running and not self._waiting, timeout=grace_seconds)
            for one in (*self._running.values(), *self._waiting):
                self._interrupt(one, FinishReason.CANCELLED)
            self._changed.notify_all()
        self._process.stop()
        for thread in self._threads:
            thread.join()
        self._on_close()

    def _check_prompt(self, request: GenerationRequest) -> None:
        if not request.prompt:
            raise InvalidArgument("the prompt is empty", field="prompt")
        if len(request.prompt) >= self.max_length:
            raise InvalidArgument(
                f"the prompt has {len(request.prompt)} tokens; at most {self.max_length - 1} fit this model",
                field="prompt",
                limit=self.max_length - 1,
            )
        if request.n > self._limits.slots:
            raise InvalidArgument(f"n is {request.n}; at most {self._limits.slots} answers run at once", field="n")
        check_tokens("token_ids", request.prompt, self._vocabulary)
        check_tokens("sampling.logit_bias", request.sampling.logit_bias, self._vocabulary)
        check_tokens("stopping.stop_token_ids", request.stopping.stop_token_ids, self._vocabulary)
        if request.deadline is not None and time.monotonic() >= request.deadline:
            raise DeadlineExceeded("the deadline passed before the request was queued")

    def _check_room(self, request: GenerationRequest) -> None:
        if self._closing:
            raise Unavailable("this model version takes no more requests")
        if not self.healthy:
            raise Unavailable("the vLLM process has ended and is started again", retry_seconds=PAUSE_SECONDS)
        if self._find(request.id) is not None:
            raise AlreadyExists(f"request {request.id!r} is running", request_id=request.id)
        if not self._waiting and self._used() + request.n <= self._limits.slots:
            return
        tokens = sum(len(one.request.prompt) for one in self._waiting) + len(request.prompt)
        for name, value, limit in (
            ("requests", len(self._waiting) + 1, self._limits.waiting_requests),
            ("tokens", tokens, self._limits.waiting_tokens),
        ):
            if value > limit:
                raise ResourceExhausted(
                    f"the queue is full: {value} {name} would wait, the limit is {limit}",
                    retry_seconds=1.0,
                    limit=limit,
                )

    def _used(self) -> int:
        return sum(one.request.n for one in self._running.values())

    def _find(self, request_id: str) -> VllmRequest | None:
        every = (*self._running.values(), *self._waiting)
        return next((one for one in every if one.request.id == request_id), None)

    def _admit(self) -> None:
        """Hand over who has a place. A process that has just ended is noticed by its reader."""
        while self._waiting and self._used() + self._waiting[0].request.n <= self._limits.slots:
            one = self._waiting.pop(0)
            one.admitted = time.monotonic()
            self._running[one.key] = one
            self._tell({"add": one.to_wire()})

    def _tell(self, line: dict[str, Any]) -> None:
        try:
            self._process.write(line)
        except Unavailable:
            log.warning("vllm process is gone")

    def _interrupt(self, one: VllmRequest, reason: FinishReason) -> None:
        if self._running.pop(one.key, None) is None:
            self._waiting.remove(one)
        else:
            self._tell({"abort": one.key})
        self._last_output.pop(one.key, None)
        one.finish(reason)
        self._admit()
        self._changed.notify_all()

    def _keep_time(self) -> None:
        """Ends whose deadline has passed."""
        with self._changed:
            while not self._closing:
                now = time.monotonic()
                every = [one for one in (*self._running.values(), *self._waiting) if one.request.deadline is not None]
                late = [one for one in every if (one.request.deadline or 0.0) <= now]
                for one in late:
                    self._interrupt(one, FinishReason.DEADLINE)
                left = min((one.request.deadline or 0.0 for one in every if one not in late), default=now + 60) - now
                self._changed.wait(timeout=max(left, 0.001))

    def _read(self) -> None:
        """Hands out what comes; starts the process again when it ends of itself."""
        while True:
            for line in self._process.lines():
                with self._changed:
                    self._take(line)
            with self._changed:
                if self._closing:
                    return
                self._lose_all()
            if not self._start_again():
                return

    def _take(self, line: Any) -> None:
        if isinstance(line, dict):
            self._refuse(str(line["refused"]), str(line["error"]))
            return
        now = time.monotonic()
        for told in line:
            key = told["key"]
            one = self._running.get(key)
            if one is None:
                continue
            if key in self._last_output:
                one.request.on_token(now - self._last_output[key])
            self._last_output[key] = now
            if one.take(told, self._tokenizer):
                self._leave(key)

    def _refuse(self, key: str, error: str) -> None:
        one = self._running.get(key)
        if one is not None:
            one.stream.fail(InvalidArgument(f"vLLM refuses the request: {error}"))
            self._leave(key)

    def _leave(self, key: str) -> None:
        del self._running[key]
        self._last_output.pop(key, None)
        self._admit()
        self._changed.notify_all()

    def _lose_all(self) -> None:
        log.error("vllm process ended", running=len(self._running), waiting=len(self._waiting))
        self.healthy = False
        for one in (*self._running.values(), *self._waiting):
            one.stream.fail(Unavailable("the vLLM process ended", retry_seconds=PAUSE_SECONDS))
        self._running.clear()
        self._waiting.clear()
        self._last_output.clear()
        self._changed.notify_all()

    def _start_again(self) -> bool:
        """Tries until it works; False when the engine closes meanwhile."""
        self._on_health(False)
        self._process.stop()
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, timeout=PAUSE_SECONDS):
                    return False
            try:
                fresh = VllmProcess(self._settings)
                break
            except FailedPrecondition as error:
                log.error("vllm does not start again", error=error.message)
        with self._changed:
            self._process, closing = fresh, self._closing
            self.healthy = not closing
        if closing:
            fresh.stop()
            return False
        self._on_health(True)
        return True
