"""Texts written anew: translations and summaries, by a sequence-to-sequence or a causal model."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from services.inference.engine.batcher import Batcher, BatchLimits, OwnThread, Ticket
from services.inference.engine.interface import (
    Candidate,
    Chunk,
    FinishReason,
    GenerationRequest,
    Load,
    Sampling,
    Stopping,
    Stream,
)
from services.inference.engine.seq2seq import Beams, Seq2Seq, Source, Written
from services.inference.engine.tokenising import TextEncoder
from services.inference.kinds import generation
from services.inference.kinds.base import Resources, Served, model_bytes
from services.inference.kinds.capabilities import DEFAULT_NEW_TOKENS, PendingTexts, Rewrites, Rewriting, Rewritten
from services.inference.kinds.generation import Generator, prompt_of
from shared.errors import Cancelled, DeadlineExceeded, FlywheelError, InvalidArgument
from shared.modeling.card import ModelCard
from shared.modeling.kinds.base import length_limit
from shared.modeling.kinds.rewriting import check_languages, encode_wanted, known_route
from shared.modeling.kinds.routes import Route, find_route
from shared.modeling.loading import LoadedModel
from shared.modeling.prompts import DEFAULT_PROMPTS, TEXT, filled

SEQ2SEQ_LIMITS = BatchLimits(batch=8, batch_tokens=1024, budget_seconds=0.005)
ANSWER_SHARE = 4
"""A text that a causal model rewrites is cut so that at least one part in so many of the room is left for the answer."""
PROBE = Rewriting(max_tokens=3, num_beams=1)


class Seq2SeqWriter(Rewrites):
    """An encoder and a decoder. Texts are cut on the right at the length that the model was trained with."""

    kind: str
    engine_name = "torch"

    def __init__(self, loaded: LoadedModel, resources: Resources) -> None:
        self.tokenizer = loaded.tokenizer
        self.memory_bytes = model_bytes(loaded.model)
        self._config: Any = loaded.model.config
        self._prompt = prompt_of(loaded.card)
        self._usual = usual_languages(loaded.card)
        self._limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
        self._encoders: dict[str, TextEncoder] = {}
        seq2seq = Seq2Seq(loaded.model, int(loaded.tokenizer.pad_token_id), resources.compute)
        self._batcher: Batcher[Source, Written] = Batcher(
            seq2seq, SEQ2SEQ_LIMITS, OwnThread(), key=lambda source: source.group
        )
        seq2seq.is_wanted = lambda: any(item.is_wanted for item in self._batcher.running)

    @property
    def healthy(self) -> bool:
        return self._batcher.healthy

    def submit_texts(
        self, texts: Sequence[str], languages: tuple[str, str], bounds: Rewriting, deadline: float | None
    ) -> "PendingTexts":
        most = self._most(bounds.max_tokens)
        least = min(bounds.min_tokens, most)
        route = self._route(languages)
        languages = languages if any(languages) else self._usual
        beams = Beams(most, least, bounds.num_beams, bounds.length_penalty, route.forced_first)
        prompts = [route.prefix + filled(self._prompt or TEXT, text, languages) for text in texts]
        sources = [Source(tuple(one.ids), beams) for one in self._encoder(route.source).texts(prompts)]
        return _Ticketed(self._batcher.submit(sources, deadline), sources, self.tokenizer)

    def probe(self) -> None:
        languages = self._some_languages()
        for texts in (["probe"], ["a somewhat longer probe"] * 2):
            self.submit_texts(texts, languages, PROBE, None).wait()

    def load(self) -> Load:
        return self._batcher.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._batcher.close(grace_seconds)

    def _route(self, languages: tuple[str, str]) -> Route:
        """Languages that a client names must be right; the pipeline's own count where the model has to be told."""
        if self._prompt:
            return Route()
        if not any(languages):
            return known_route(self.tokenizer, self._config, self.kind, self._usual)
        return find_route(self.tokenizer, self._config, self.kind, *languages)

    def _encoder(self, source: str) -> TextEncoder:
        """One a source language, because that is a setting of the tokenizer."""
        if source not in self._encoders:
            if source:
                self.tokenizer.src_lang = source
            self._encoders[source] = TextEncoder(self.tokenizer, self._limit)
        return self._encoders[source]

    def _most(self, wanted: int | None) -> int:
        """New tokens at most, within the decoder's positions."""
        positions = getattr(self._config, "max_position_embeddings", None)
        room = DEFAULT_NEW_TOKENS if positions is None else int(positions) - 1
        if positions is not None and (wanted or 0) > room:
            raise InvalidArgument(
                f"rewriting.max_tokens is {wanted}; this model writes at most {room}", field="rewriting.max_tokens"
            )
        return min(DEFAULT_NEW_TOKENS, room) if wanted is None else wanted

    def _some_languages(self) -> tuple[str, str]:
        """Languages that the model knows, for the probe."""
        try:
            self._route(("", ""))
        except InvalidArgument as error:
            known = error.message.rpartition(" knows ")[2].split(", ")
            source, between, target = known[0].partition(" to ")
            return (source, target) if between else (known[0], known[-1])
        return "", ""


class CausalWriter(Rewrites):
    """A causal model that is asked in words."""

    kind: str

    def __init__(self, generator: Generator, loaded: LoadedModel) -> None:
        self.tokenizer = generator.tokenizer
        self.engine_name = generator.engine_name
        self._generator = generator
        self._prompt = prompt_of(loaded.card) or DEFAULT_PROMPTS[self.kind]
        self._usual = usual_languages(loaded.card)
        self._limit = length_limit(loaded.model, loaded.tokenizer, loaded.card.max_length)
        self._numbers = count()

    @property
    def healthy(self) -> bool:
        return self._generator.healthy

    @property
    def memory_bytes(self) -> int:
        return self._generator.memory_bytes

    def submit_texts(
        self, texts: Sequence[str], languages: tuple[str, str], bounds: Rewriting, deadline: float | None
    ) -> "PendingTexts":
        languages = languages[0] or self._usual[0], languages[1] or self._usual[1]
        check_languages(self._prompt, languages)
        sampling = Sampling(num_beams=bounds.num_beams, length_penalty=bounds.length_penalty)
        stopping = Stopping(max_tokens=bounds.max_tokens or DEFAULT_NEW_TOKENS, min_tokens=bounds.min_tokens)
        room = self._limit - min(stopping.max_tokens or DEFAULT_NEW_TOKENS, self._limit // ANSWER_SHARE)
        pending = _Streamed(self._generator, bounds)
        try:
            for text in texts:
                prompt = tuple(encode_wanted(self.tokenizer, self._prompt, text, languages, room))
                name = f"{self.kind}-{next(self._numbers)}"
                request = GenerationRequest(name, prompt, sampling, stopping, deadline, logprobs=0, salt=name)
                pending.add(self._generator.submit(request), len(prompt))
        except BaseException:
            pending.cancel()
            raise
        return pending

    def probe(self) -> None:
        self._generator.probe()

    def load(self) -> Load:
        return self._generator.load()

    def close(self, grace_seconds: float = 0.0) -> None:
        self._generator.close(grace_seconds)


class Translator(Rewrites):
    """Texts into another language."""

    kind = "translation"


class Summariser(Rewrites):
    """Texts made shorter."""

    kind = "summarisation"


class _Seq2SeqTranslator(Seq2SeqWriter, Translator):
    kind = "translation"


class _Seq2SeqSummariser(Seq2SeqWriter, Summariser):
    kind = "summarisation"


class _CausalTranslator(CausalWriter, Translator):
    kind = "translation"


class _CausalSummariser(CausalWriter, Summariser):
    kind = "summarisation"


def serve_translator(loaded: LoadedModel, resources: Resources) -> Served:
    if loaded.model.config.is_encoder_decoder:
        return _Seq2SeqTranslator(loaded, resources)
    return _CausalTranslator(generation.serve(loaded, resources), loaded)


def serve_summariser(loaded: LoadedModel, resources: Resources) -> Served:
    if loaded.model.config.is_encoder_decoder:
        return _Seq2SeqSummariser(loaded, resources)
    return _CausalSummariser(generation.serve(loaded, resources), loaded)


def usual_languages(card: ModelCard) -> tuple[str, str]:
    """(source, target) that the pipeline names; empty where it names none."""
    return card.options.get("source_language") or "", card.options.get("target_language") or ""


class _Ticketed(PendingTexts):
    def __init__(self, ticket: Ticket[list[Written]], sources: Sequence[Source], tokenizer: Any) -> None:
        self._ticket = ticket
        self._sources = sources
        self._tokenizer = tokenizer

    def wait(self) -> list[Rewritten]:
        return [
            Rewritten(
                self._tokenizer.decode(written.ids, skip_special_tokens=True).strip(),
                written.score,
                len(source),
                len(written.ids),
            )
            for written, source in zip(self._ticket.wait(), self._sources, strict=True)
        ]

    def cancel(self) -> None:
        self._ticket.cancel()

    @property
    def queue_seconds(self) -> float:
        return self._ticket.queue_seconds


class _Streamed(PendingTexts):
    def __init__(self, generator: Generator, bounds: Rewriting) -> None:
        self._generator = generator
        self._bounds = bounds
        self._streams: list[tuple[Stream, int]] = []
        self._queued = 0.0

    def add(self, stream: Stream, prompt_tokens: int) -> None:
        self._streams.append((stream, prompt_tokens))

    def wait(self) -> list[Rewritten]:
        try:
            return [self._read(stream, prompt_tokens) for stream, prompt_tokens in self._streams]
        finally:
            self.cancel()

    def cancel(self) -> None:
        for stream, _ in self._streams:
            self._generator.cancel(stream.request_id)

    @property
    def queue_seconds(self) -> float:
        return self._queued

    def _read(self, stream: Stream, prompt_tokens: int) -> Rewritten:
        text, scores = "", list[float]()
        for output in stream:
            if isinstance(output, Chunk):
                text += output.text
                scores += [one.logprob for one in output.logprobs if one.logprob is not None]
                continue
            _raise_for(output.reason, output.error)
            self._queued = max(self._queued, output.timings.queue_seconds)
            made = output.usage.completion_tokens
            mean = sum(scores) / len(scores) if scores else self._mean_of_beam(output.candidates, made)
            return Rewritten(text.strip(), mean, prompt_tokens, made)
        raise AssertionError

    def _mean_of_beam(self, candidates: Sequence[Candidate], tokens: int) -> float:
        """A beam's score is its sum divided by a power of its length."""
        score = candidates[0].score if candidates and candidates[0].score is not None else 0.0
        return float(score * max(tokens, 1) ** (self._bounds.length_penalty - 1))


def _raise_for(reason: FinishReason, error: str) -> None:
    if reason is FinishReason.DEADLINE:
        raise DeadlineExceeded("the deadline passed while the text was being written")
    if reason is FinishReason.CANCELLED:
        raise Cancelled("the request was cancelled")
    if reason is FinishReason.ERROR:
        raise FlywheelError(f"the engine failed: {error}")
