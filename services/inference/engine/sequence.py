"""One request on its way through the engine, with all its answers."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from services.inference.engine.answer import Answer
from services.inference.engine.beams import BeamSearch
from services.inference.engine.cache import PAGE, pages_for
from services.inference.engine.constraints import ConstraintState
from services.inference.engine.interface import (
    Chunk,
    Finished,
    FinishReason,
    GenerationRequest,
    Stream,
    Timings,
    TokenLogprob,
    Usage,
)
from services.inference.engine.prefix import next_key, root_key
from services.inference.engine.presets import HeldPreset
from services.inference.engine.step import Adapter
from shared.errors import FlywheelError


class RequestSequence:
    """Answers and times of a request. Used by the engine's thread alone once it is queued.

    The prompt is computed once, for the first answer; then all of them grow from it (`forked`). Beams are answers
    that grow unseen: `beams` holds the search. With a preset the prompt has so many positions more, which nobody
    wrote; `reserved` are the preset's pages until they are adopted.
    """

    def __init__(
        self,
        request: GenerationRequest,
        stream: Stream,
        tokenizer: PreTrainedTokenizerBase,
        eos: frozenset[int],
        max_new: int,
        constraint: ConstraintState | None = None,
        adapter: Adapter | None = None,
        preset: HeldPreset | None = None,
    ) -> None:
        self.preset = 0 if preset is None else preset.length
        if preset is not None:  # its positions are computed already, so any token stands for them
            request = replace(request, prompt=(0,) * self.preset + tuple(request.prompt))
        self.reserved: list[int] = [] if preset is None else list(preset.pages)
        self.request = request
        self.stream = stream
        self.adapter = adapter
        self.cancelled = False
        self.forked = False
        self.arrived = time.monotonic()
        self.admitted: float | None = None
        self.cached_tokens = 0
        beams = request.sampling.num_beams
        self.width = max(request.n, beams)
        self.answers = [
            Answer(request, index, tokenizer, eos, max_new, constraint and constraint.fork(), self.preset)
            for index in range(self.width)
        ]
        ends = self.first.ends
        self.beams = BeamSearch(beams, request.sampling.length_penalty, ends, max_new) if beams > 1 else None
        self._tokenizer = tokenizer
        self._first_token: float | None = None
        self._prompt_logprobs: list[TokenLogprob] = []
        self._page_keys = [root_key(request.adapter, request.salt)]

    @property
    def first(self) -> Answer:
        return self.answers[0]

    @property
    def prompt_tokens(self) -> int:
        return len(self.request.prompt)

    @property
    def running(self) -> Iterator[Answer]:
        """Answers that take part in the next step."""
        if not self.forked:
            return iter((self.first,))
        return (answer for answer in self.answers if answer.reason is None)

    @property
    def wants_prompt_logprobs(self) -> bool:
        return self.request.echo and self.request.logprobs is not None

    @property
    def outstanding(self) -> int:
        """Pages that it may still take, all answers at their longest."""
        total = pages_for(self.first.longest)
        if self.forked:
            return sum(total - len(answer.pages) for answer in self.running)
        return total - len(self.first.pages) + (self.width - 1) * (total - self.prompt_tokens // PAGE)

    def page_key(self, page: int) -> bytes:
        """Key of the first `page` pages of the prompt."""
        while len(self._page_keys) <= page:
            start = (len(self._page_keys) - 1) * PAGE
            self._page_keys.append(next_key(self._page_keys[-1], self.request.prompt[start : start + PAGE]))
        return self._page_keys[page]

    def key_after(self, answer: Answer, page: int) -> bytes:
        """Key of the first `page` pages of an answer; asked for one page after the other."""
        if page * PAGE <= self.prompt_tokens:
            return self.page_key(page)
        parent = answer.page_key or self.page_key(page - 1)
        answer.page_key = next_key(parent, answer.tokens((page - 1) * PAGE, page * PAGE))
        return answer.page_key

    def interrupted(self, now: float) -> FinishReason | None:
        """Why the request has to end before its next step, if it has to."""
        if self.cancelled:
            return FinishReason.CANCELLED
        if self.request.deadline is not None and now >= self.request.deadline:
            return FinishReason.DEADLINE
        return None

    def echo(self, logprobs: Sequence[TokenLogprob]) -> None:
        """Log-probabilities of the next prompt tokens, in the order of the prompt."""
        self._prompt_logprobs.extend(logprobs)

    def start(self, now: float) -> None:
        """The first token is there."""
        self._first_token = now
        if self.request.echo:
            prompt = self.request.prompt[self.preset :]
            first = (TokenLogprob(prompt[0], None),) if self.wants_prompt_logprobs else ()
            text = self._tokenizer.decode(list(prompt), clean_up_tokenization_spaces=False)
            assert isinstance(text, str)
            self.stream.put(Chunk(text, prompt, 0, (*first, *self._prompt_logprobs), echo=True))

    def finish_beams(self) -> None:
        """Send the best `n` of the beams that were found."""
        assert self.beams is not None
        for answer in self.answers:
            answer.reason = None
        del self.answers[self.request.n :]
        for answer, found in zip(self.answers, self.beams.finished, strict=False):
            answer.retell(found.tokens, found.score, self.stream)

    def interrupt(self, reason: FinishReason, error: str = "") -> None:
        """End what still runs for this reason, and send the final event."""
        for answer in self.answers[: self.request.n]:
            if answer.reason is None:
                if self.beams is not None:
                    answer.generated.clear()
                answer.finish(reason, self.stream)
        self.finish(reason, error)

    def finish(self, reason: FinishReason | None = None, error: str = "") -> None:
        """Send the final event once all answers have ended; `reason` is that of the first unless given."""
        answers = self.answers[: self.request.n]
        usage = Usage(
            self.prompt_tokens - self.preset, sum(len(answer.generated) for answer in answers), self.cached_tokens
        )
        candidates = tuple(answer.candidate() for answer in answers)
        self.stream.put(Finished(reason or candidates[0].reason, usage, self._timings(), error, candidates))

    def fail(self, error: FlywheelError) -> None:
        """End with an error for the caller instead of an outcome."""
        self.stream.fail(error)

    def _timings(self) -> Timings:
        now = time.monotonic()
        return Timings(
            queue_seconds=(self.admitted or now) - self.arrived,
            first_token_seconds=None if self._first_token is None else self._first_token - self.arrived,
            total_seconds=now - self.arrived,
        )
