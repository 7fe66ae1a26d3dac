"""One request that vLLM answers: what is asked of it, and what came back so far."""

import time
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from services.inference.engine.interface import (
    Candidate,
    Chunk,
    Constraint,
    Finished,
    FinishReason,
    GenerationRequest,
    Stream,
    Timings,
    TokenLogprob,
    Usage,
)
from shared.errors import InvalidArgument

SEEDS = 1 << 63


@dataclass
class Answer:
    """Tokens whose text is not complete yet wait in `ids`."""

    count: int = 0
    score: float | None = None
    reason: FinishReason | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


class VllmRequest:
    """Used under the engine's lock. `key` is its name in vLLM, never used twice."""

    def __init__(
        self, key: str, request: GenerationRequest, stream: Stream, ends: frozenset[int], max_new: int
    ) -> None:
        self.key = key
        self.request = request
        self.stream = stream
        self.arrived = time.monotonic()
        self.admitted: float | None = None
        self._ends = frozenset() if request.stopping.ignore_eos else ends
        self._max_new = max_new
        self._cached = 0
        self._first_token: float | None = None
        self._answers = [Answer() for _ in range(request.n)]

    @property
    def tokens(self) -> int:
        return len(self.request.prompt) + sum(answer.count for answer in self._answers)

    def to_wire(self) -> dict[str, Any]:
        """See `program.py`. All ends are stop tokens, so that we know which one it was."""
        sampling, stopping = self.request.sampling, self.request.stopping
        alike = sampling.temperature == 0 and self.request.n > 1  # refused by vLLM; the one likeliest is the same
        fields = {
            "n": self.request.n,
            "temperature": 1.0 if alike else sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": 1 if alike else sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "logit_bias": dict(sampling.logit_bias),
            "seed": None if sampling.seed is None else sampling.seed % SEEDS,
            "max_tokens": self._max_new,
            "min_tokens": min(stopping.min_tokens, self._max_new),
            "stop": list(stopping.stop),
            "stop_token_ids": sorted(self._ends | stopping.stop_token_ids),
            "ignore_eos": True,
            "logprobs": self.request.logprobs,
            "prompt_logprobs": self.request.logprobs if self.request.echo else None,
        }
        constraint = _constraint(self.request.constraint) if self.request.constraint else None
        wanted = {"key": self.key, "prompt": list(self.request.prompt), "salt": self.request.salt}
        return {**wanted, "sampling": fields, "constraint": constraint}

    def take(self, told: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> bool:
        """What a step gave one answer; True once all have ended, and the stream with them."""
        if self._first_token is None:
            self._first_token = time.monotonic()
            self._cached = told["cached"]
            if self.request.echo:
                self._echo(told, tokenizer)
        answer = self._answers[told["index"]]
        answer.count += len(told["tokens"])
        answer.ids += told["tokens"]
        logprobs = [self._logprob(*one) for one in told["logprobs"]]
        if self.request.logprobs is not None:
            answer.score = (answer.score or 0.0) + sum(one.logprob or 0.0 for one in logprobs)
        answer.logprobs += logprobs
        if told["finished"]:
            answer.reason = self._reason(told)
        if told["text"] or (answer.reason and answer.ids):
            self._send(told["index"], answer, told["text"])
        done = all(answer.reason for answer in self._answers)
        if done:
            self.finish()
        return done

    def finish(self, reason: FinishReason | None = None, error: str = "") -> None:
        """The last event; what still runs ends for `reason`."""
        for index, answer in enumerate(self._answers):
            if answer.reason is None:
                assert reason is not None
                answer.reason = reason
                if answer.ids:
                    self._send(index, answer, "")
        ends = tuple(Candidate(one.reason, one.count, one.score) for one in self._answers if one.reason)
        usage = Usage(len(self.request.prompt), sum(one.count for one in self._answers), self._cached)
        self.stream.put(Finished(reason or ends[0].reason, usage, self._timings(), error, ends))

    def _echo(self, told: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
        text = tokenizer.decode(list(self.request.prompt), clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        logprobs = tuple(self._logprob(*one) for one in told.get("prompt_logprobs", ()))
        self.stream.put(Chunk(text, self.request.prompt, logprobs=logprobs, echo=True))

    def _send(self, index: int, answer: Answer, text: str) -> None:
        self.stream.put(Chunk(text, tuple(answer.ids), index, tuple(answer.logprobs)))
        answer.ids.clear()
        answer.logprobs.clear()

    def _logprob(self, token: int, logprob: float | None, alternatives: list[list[Any]]) -> TokenLogprob:
        """vLLM adds the token itself to its alternatives when it is not among the best."""
        best = alternatives[: self.request.logprobs or 0]
        return TokenLogprob(token, logprob, tuple((int(other), float(value)) for other, value in best))

    def _reason(self, told: dict[str, Any]) -> FinishReason:
        if told["finished"] == "length":
            return FinishReason.LENGTH
        if told["finished"] != "stop":
            return FinishReason.ERROR
        return FinishReason.EOS if told["stopped_by"] in self._ends else FinishReason.STOP

    def _timings(self) -> Timings:
        now = time.monotonic()
        return Timings(
            queue_seconds=(self.admitted or now) - self.arrived,
            first_token_seconds=None if self._first_token is None else self._first_token - self.arrived,
            total_seconds=now - self.arrived,
        )


def check_supported(request: GenerationRequest) -> None:
    """Raises InvalidArgument, naming the field, for what vLLM does not do behind this interface."""
    if request.sampling.num_beams > 1:
        raise InvalidArgument(
            f"num_beams is {request.sampling.num_beams}; this model runs on vLLM, which has no beam search here: "
            "leave it at 1",
            field="sampling.num_beams",
        )
    if request.adapter is not None:
        raise InvalidArgument("this model runs on vLLM, which serves no adapters here", field="adapter")


def _constraint(wanted: Constraint) -> dict[str, Any]:
    if wanted.json_schema is not None:
        return {"json": wanted.json_schema}
    if wanted.regex is not None:
        return {"regex": wanted.regex}
    if wanted.lark is not None:
        return {"grammar": wanted.lark}
    return {"choice": list(wanted.choices)}
