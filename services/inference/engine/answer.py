"""One growing answer: its pages, its tokens and the text that may be sent."""

from collections.abc import Sequence
from random import Random

from transformers import PreTrainedTokenizerBase

from services.inference.engine.constraints import ConstraintState
from services.inference.engine.interface import (
    Candidate,
    Chunk,
    FinishReason,
    GenerationRequest,
    Stream,
    TokenLogprob,
)
from services.inference.engine.sampling import Drawn, Row
from services.inference.engine.speculation import Lookup
from services.inference.engine.text import Detokenizer, StopMatcher


class Answer:
    """Answer `index` of a request. `cached` positions of it are computed and lie in `pages`."""

    def __init__(
        self,
        request: GenerationRequest,
        index: int,
        tokenizer: PreTrainedTokenizerBase,
        eos: frozenset[int],
        max_new: int,
        constraint: ConstraintState | None = None,
        preset: int = 0,
    ) -> None:
        """The first `preset` positions of the prompt hold no tokens that anybody wrote."""
        self.request = request
        self._written = request.prompt[preset:]
        self.index = index
        self.max_new = max_new
        self.pages: list[int] = []
        self.cached = 0
        self.known_pages = 0
        self.page_key = b""
        self.generated: list[int] = []
        self.proposed: list[int] = []
        self.reason: FinishReason | None = None
        self.score: float | None = None if request.logprobs is None else 0.0
        self.last_token_at: float | None = None
        self._constraint = constraint
        self._eos = frozenset() if request.stopping.ignore_eos else eos
        self._generator = _generator(request.sampling.seed, index)
        self._detokenizer = Detokenizer(tokenizer)
        self._stops = StopMatcher(request.stopping.stop)
        self._ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._lookup: Lookup | None = None
        self._text = ""
        self._whole = False
        self._plain = _is_plain(request)
        self._row = self._make_row()

    @property
    def length(self) -> int:
        """Tokens known so far, prompt and answer."""
        return len(self.request.prompt) + len(self.generated)

    @property
    def longest(self) -> int:
        """Tokens it may come to."""
        return len(self.request.prompt) + self.max_new

    @property
    def ends(self) -> frozenset[int]:
        """Tokens that end it."""
        return self._eos | self.request.stopping.stop_token_ids

    @property
    def early(self) -> bool:
        """Whether it may not end yet."""
        return len(self.generated) < self.request.stopping.min_tokens

    def tokens(self, start: int, end: int) -> Sequence[int]:
        """Tokens of these positions, of the prompt and the answer."""
        split = len(self.request.prompt)
        if end <= split:
            return self.request.prompt[start:end]
        return [*self.request.prompt[start:split], *self.generated[max(0, start - split) : end - split]]

    def row(self) -> Row:
        """What sampling has to know; tokens that would end the answer too early are forbidden."""
        if self._row.forbidden and not self.early:
            self._row = self._make_row()
        return self._row

    def propose(self, most: int) -> list[int]:
        """Guesses at the tokens after the newest one, where guessing changes nothing but the time."""
        self.proposed = []
        if self._plain and not self.early:
            if self._lookup is None:
                self._lookup = Lookup(self._written)
                self._lookup.extend(self.generated)
            self.proposed = self._lookup.propose(min(most, self.max_new - len(self.generated) - 1))
        return self.proposed

    def accept(self, drawn: Sequence[Drawn | None]) -> list[Drawn | None]:
        """Of the tokens drawn after the newest one and each proposal, those that rest on right proposals only."""
        right = 0
        for guess, real in zip(self.proposed, drawn, strict=False):
            if real is None or real.token != guess:
                break
            right += 1
        if self._lookup is not None:
            self._lookup.judge(len(self.proposed), right)
        return list(drawn[: right + 1])

    def take(self, drawn: Drawn, stream: Stream) -> FinishReason | None:
        """Add a token and send the text it completes; returns the reason when it ends the answer."""
        token = drawn.token
        self.generated.append(token)
        if self._lookup is not None:
            self._lookup.extend((token,))
        self._ids.append(token)
        if drawn.logprob is not None:
            self.score = (self.score or 0.0) + drawn.logprob
            self._logprobs.append(TokenLogprob(token, drawn.logprob, drawn.alternatives))
        if token in self._eos:
            return FinishReason.EOS
        if token in self.request.stopping.stop_token_ids:
            return FinishReason.STOP
        text, stopped = self._match(self._detokenizer.push(token))
        self._text += text
        if self._text and not self._whole:
            self._send(stream)
        if self._complete(token) or stopped:
            return FinishReason.STOP
        return FinishReason.LENGTH if len(self.generated) >= self.max_new else None

    def finish(self, reason: FinishReason, stream: Stream) -> None:
        """Send what was held back. A stop string and what follows it stay unsent."""
        if not (reason is FinishReason.STOP and self._stops.met):
            text, stopped = self._match(self._detokenizer.flush())
            if stopped and reason in (FinishReason.EOS, FinishReason.LENGTH):
                reason = FinishReason.STOP
            self._text += text + self._stops.flush()
        if self._text or self._ids:
            self._send(stream)
        self.reason = reason

    def candidate(self) -> Candidate:
        assert self.reason is not None
        return Candidate(self.reason, len(self.generated), self.score)

    def retell(self, tokens: Sequence[int], score: float, stream: Stream) -> None:
        """Become these tokens, found by a beam search, and send them as one chunk."""
        self.generated.clear()
        self._whole = True
        reason = None
        for token in tokens:
            reason = self.take(Drawn(token), stream)
            if reason is not None:
                break
        self.finish(reason or FinishReason.LENGTH, stream)
        self.score = score

    def trouble(self) -> str:
        """Why its constraint lets no token follow, if that is so."""
        return "" if self._constraint is None else self._constraint.error

    def _make_row(self) -> Row:
        return Row(
            sampling=self.request.sampling,
            generator=self._generator,
            prompt=self._written,
            generated=self.generated,
            forbidden=tuple(self.ends) if self.early else (),
            constraint=self._constraint,
            logprobs=self.request.logprobs,
        )

    def _complete(self, token: int) -> bool:
        """Whether the answer has become all that its constraint asks for."""
        if self._constraint is None:
            return False
        self._constraint.advance(token)
        return self._constraint.complete

    def _match(self, text: str) -> tuple[str, bool]:
        if self.early:
            return text, False
        return self._stops.push(text)

    def _send(self, stream: Stream) -> None:
        stream.put(Chunk(self._text, tuple(self._ids), self.index, tuple(self._logprobs)))
        self._text = ""
        self._ids.clear()
        self._logprobs.clear()


def _generator(seed: int | None, index: int) -> Random:
    """A source of numbers an answer; the first has the request's own seed, so n = 1 is the first of many."""
    return Random(seed if seed is None or index == 0 else f"{seed}/{index}")


def _is_plain(request: GenerationRequest) -> bool:
    """Whether the next token depends on the logits alone, so that several can be checked at once."""
    sampling = request.sampling
    return (
        sampling.temperature == 0
        and sampling.num_beams == 1
        and sampling.repetition_penalty == 1
        and sampling.presence_penalty == 0
        and sampling.frequency_penalty == 0
        and request.constraint is None
    )
