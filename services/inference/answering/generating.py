"""Prompts to text, streamed."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from transformers import PreTrainedTokenizerBase

from services.inference.answering.answers import AnswerLog, Times
from services.inference.answering.classifying import OnGone
from services.inference.answering.holding import Models
from services.inference.answering.metering import Meter, metered
from services.inference.answering.requests import GenerateRequest, Prompt, check_generate
from services.inference.answering.shadowing import LOWEST
from services.inference.engine import interface as engine
from services.inference.engine.text import token_text
from services.inference.kinds.generation import Generator
from services.inference.models.lineage import Lineage
from shared.errors import Cancelled, DeadlineExceeded, FlywheelError
from shared.storage.ids import new_id
from shared.telemetry import metrics

METHOD = "Generate"
CODES = {
    engine.FinishReason.CANCELLED: Cancelled.reason,
    engine.FinishReason.DEADLINE: DeadlineExceeded.reason,
    engine.FinishReason.ERROR: FlywheelError.reason,
}

SEED_BITS = 53  # whole numbers that every reader of JSON keeps
COMPLETE = (engine.FinishReason.EOS, engine.FinishReason.STOP, engine.FinishReason.LENGTH)


@dataclass(frozen=True)
class Accepted:
    request_id: str
    lineage: Lineage
    queue_position: int
    prompt_tokens: int


@dataclass(frozen=True)
class NamedChunk(engine.Chunk):
    """A chunk with log-probabilities; `names` has the text of each token in them, alone."""

    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """How it ended; `error` says what went wrong when the reason is `ERROR`. `seed` is None where nothing is drawn."""

    reason: engine.FinishReason
    usage: engine.Usage
    times: Times
    candidates: tuple[engine.Candidate, ...] = ()
    error: str = ""
    seed: int | None = None


Event = Accepted | engine.Chunk | Finished


class Generating:
    """Runs requests on the engine of the version that answers, and remembers what was answered."""

    def __init__(self, models: Models, answers: AnswerLog) -> None:
        self._models = models
        self._answers = answers
        self._running: dict[str, Generator] = {}

    def generate(self, request: GenerateRequest, deadline: float, on_gone: OnGone, tenant: str = "") -> Iterator[Event]:
        """`Accepted`, chunks, `Finished`. Raises the errors of shared.errors, before the first event only.

        Tenants never share cached prompts.
        """
        with metered(METHOD) as meter:
            check_generate(request)
            request = _seeded(request)
            request_id = request.request_id or new_id("request")
            with self._models.hold(request.model, Generator, deadline, request_id) as (generator, lineage):
                meter.model = request.model.name
                asked = _for_engine(request, request_id, generator, deadline, tenant)
                stream = generator.submit(asked)
                self._running[request_id] = generator
                try:
                    if not on_gone(partial(_cancel, generator, request_id)):
                        generator.cancel(request_id)
                    yield Accepted(request_id, lineage, stream.queue_position, len(asked.prompt))
                    text = ""
                    for output in stream:
                        if isinstance(output, engine.Chunk):
                            if output.index == 0 and not output.echo:
                                text += output.text
                            yield _named(output, generator.tokenizer) if output.logprobs else output
                            continue
                        finished = self._finish(meter, output, request.sampling.seed)
                        prompt = _as_messages(request.prompt)
                        self._answers.add(request_id, METHOD, prompt, {"text": text}, lineage, finished.times)
                        if output.reason in COMPLETE:
                            compare = partial(_agrees, request, text, tenant)
                            self._models.copy(request.model, request_id, Generator, compare)
                        yield finished
                finally:
                    del self._running[request_id]
                    generator.cancel(request_id)

    def abort(self, request_id: str) -> bool:
        """An operator ends a request; False when it does not run here."""
        generator = self._running.get(request_id)
        return generator is not None and generator.cancel(request_id)

    def _finish(self, meter: Meter, output: engine.Finished, seed: int | None) -> Finished:
        timings, usage = output.timings, output.usage
        meter.code = CODES.get(output.reason, "OK")
        metrics.INFERENCE_QUEUE_SECONDS.labels(meter.model).observe(timings.queue_seconds)
        metrics.INFERENCE_TOKENS.labels(meter.model, "prompt").inc(usage.prompt_tokens)
        metrics.INFERENCE_TOKENS.labels(meter.model, "cached").inc(usage.cached_tokens)
        metrics.INFERENCE_TOKENS.labels(meter.model, "completion").inc(usage.completion_tokens)
        if timings.first_token_seconds is not None:
            metrics.INFERENCE_TIME_TO_FIRST_TOKEN_SECONDS.labels(meter.model).observe(timings.first_token_seconds)
        times = Times(
            queue=timings.queue_seconds,
            compute=timings.total_seconds - timings.queue_seconds,
            total=meter.seconds,
            first_token=timings.first_token_seconds,
        )
        return Finished(output.reason, usage, times, output.candidates, output.error, seed)


def _seeded(request: GenerateRequest) -> GenerateRequest:
    """With a seed where tokens are drawn, so that the answer can be asked for again; without one where none are."""
    sampling = request.sampling
    if sampling.temperature == 0:
        return replace(request, sampling=replace(sampling, seed=None))
    if sampling.seed is not None:
        return request
    return replace(request, sampling=replace(sampling, seed=secrets.randbits(SEED_BITS)))


def _for_engine(
    request: GenerateRequest, request_id: str, generator: Generator, deadline: float, tenant: str
) -> engine.GenerationRequest:
    """The request in tokens. Raises InvalidArgument naming a field of the prompt."""
    prompt = request.prompt
    return engine.GenerationRequest(
        id=request_id,
        prompt=generator.prompt(prompt.text, prompt.messages, prompt.token_ids),
        sampling=request.sampling,
        stopping=request.stopping,
        deadline=deadline,
        priority=request.priority,
        constraint=request.constraint,
        logprobs=request.logprobs,
        n=request.n,
        salt=f"{tenant}\0{request.cache_salt}",
        echo=request.echo,
    )


def _named(chunk: engine.Chunk, tokenizer: PreTrainedTokenizerBase) -> NamedChunk:
    tokens = {token for entry in chunk.logprobs for token, _ in entry.alternatives}
    tokens.update(entry.token_id for entry in chunk.logprobs)
    names = {token: token_text(tokenizer, token) for token in tokens}
    return NamedChunk(chunk.text, chunk.token_ids, chunk.index, chunk.logprobs, chunk.echo, names)


def _agrees(request: GenerateRequest, text: str, tenant: str, shadow: Generator, deadline: float) -> bool | None:
    """Whether a shadow writes the same first answer; None where the text was drawn at random."""
    alone = _for_engine(request, new_id("shadow"), shadow, deadline, tenant)
    copy = replace(alone, priority=LOWEST, n=1, logprobs=None, echo=False)
    written = "".join(output.text for output in shadow.submit(copy) if isinstance(output, engine.Chunk))
    return written == text if request.sampling.temperature == 0 else None


def _as_messages(prompt: Prompt) -> dict[str, object]:
    """The prompt as the row that feedback would make of it."""
    if prompt.messages:
        return {"messages": [dict(turn) for turn in prompt.messages]}
    if prompt.text is not None:
        return {"messages": [{"role": "user", "content": prompt.text}]}
    return {"token_ids": list(prompt.token_ids)}


def _cancel(generator: Generator, request_id: str) -> None:
    generator.cancel(request_id)
