"""One request on its way through the engine."""

import time
from random import Random

from transformers import PreTrainedTokenizerBase

from services.inference.engine.interface import (
    Chunk,
    Finished,
    FinishReason,
    GenerationRequest,
    Stream,
    Timings,
    Usage,
)
from services.inference.engine.sampling import Row
from services.inference.engine.text import Detokenizer, StopMatcher


class RequestSequence:
    """Tokens, text and times of a request. Used by the engine's thread alone once it is queued."""

    def __init__(
        self,
        request: GenerationRequest,
        stream: Stream,
        tokenizer: PreTrainedTokenizerBase,
        eos: frozenset[int],
        max_new: int,
    ) -> None:
        self.request = request
        self.stream = stream
        self.cancelled = False
        self.pages: list[int] = []
        self.promised = 0
        self.cached = 0
        self.generated: list[int] = []
        self.arrived = time.monotonic()
        self.admitted: float | None = None
        self.last_token_at: float | None = None
        self._first_token: float | None = None
        self._generator = Random(request.sampling.seed)
        self._detokenizer = Detokenizer(tokenizer)
        self._stops = StopMatcher(request.stopping.stop)
        self._eos = frozenset() if request.stopping.ignore_eos else eos
        self._max_new = max_new
        self._unsent: list[int] = []

    @property
    def length(self) -> int:
        """Tokens known so far, prompt and answer."""
        return len(self.request.prompt) + len(self.generated)

    @property
    def longest(self) -> int:
        """Tokens it may come to."""
        return len(self.request.prompt) + self._max_new

    def next_tokens(self, limit: int) -> tuple[int, ...]:
        """The tokens to compute next: the newest one, or up to `limit` of the prompt."""
        if self.generated:
            return (self.generated[-1],)
        return self.request.prompt[self.cached : self.cached + limit]

    def row(self) -> Row:
        """What sampling has to know; tokens that would end the answer too early are forbidden."""
        early = len(self.generated) < self.request.stopping.min_tokens
        return Row(
            sampling=self.request.sampling,
            generator=self._generator,
            prompt=self.request.prompt,
            generated=self.generated,
            forbidden=tuple(self._eos | self.request.stopping.stop_token_ids) if early else (),
        )

    def interrupted(self, now: float) -> FinishReason | None:
        """Why the request has to end before its next step, if it has to."""
        if self.cancelled:
            return FinishReason.CANCELLED
        if self.request.deadline is not None and now >= self.request.deadline:
            return FinishReason.DEADLINE
        return None

    def take(self, token: int) -> FinishReason | None:
        """Add a token and send the text it completes; returns the reason when it ends the answer."""
        self.last_token_at = time.monotonic()
        if self._first_token is None:
            self._first_token = self.last_token_at
        self.generated.append(token)
        self._unsent.append(token)
        if token in self._eos:
            return FinishReason.EOS
        if token in self.request.stopping.stop_token_ids:
            return FinishReason.STOP
        text, stopped = self._match(self._detokenizer.push(token))
        self._send(text)
        if stopped:
            return FinishReason.STOP
        return FinishReason.LENGTH if len(self.generated) >= self._max_new else None

    def finish(self, reason: FinishReason, error: str = "") -> None:
        """Send what was held back and the final event. A stop string and what follows it stay unsent."""
        if not (reason is FinishReason.STOP and self._stops.met):
            text, stopped = self._match(self._detokenizer.flush())
            if stopped and reason in (FinishReason.EOS, FinishReason.LENGTH):
                reason = FinishReason.STOP
            self._send(text + self._stops.flush())
        if self._unsent:
            self.stream.put(Chunk("", tuple(self._unsent)))
        usage = Usage(len(self.request.prompt), len(self.generated))
        self.stream.put(Finished(reason, usage, self._timings(), error))

    def _match(self, text: str) -> tuple[str, bool]:
        if len(self.generated) < self.request.stopping.min_tokens:
            return text, False
        return self._stops.push(text)

    def _send(self, text: str) -> None:
        if text:
            self.stream.put(Chunk(text, tuple(self._unsent)))
            self._unsent.clear()

    def _timings(self) -> Timings:
        now = time.monotonic()
        return Timings(
            queue_seconds=(self.admitted or now) - self.arrived,
            first_token_seconds=None if self._first_token is None else self._first_token - self.arrived,
            total_seconds=now - self.arrived,
        )
