"""Generate."""

from collections.abc import Mapping
from typing import Any

from services.inference.answering.generating import Accepted, Event, Finished, NamedChunk
from services.inference.answering.requests import DEFAULT_MAX_TOKENS, GenerateRequest, Prompt
from services.inference.convert.common import lineage, model_ref, timings
from services.inference.engine.interface import (
    Candidate,
    Chunk,
    Constraint,
    FinishReason,
    Sampling,
    Stopping,
    TokenLogprob,
)
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb


def generate_request(message: pb.GenerateRequest) -> GenerateRequest:
    return GenerateRequest(
        model=model_ref(message.model),
        prompt=_prompt(message),
        sampling=_sampling(message.sampling),
        stopping=_stopping(message.stopping),
        request_id=message.request_id,
        constraint=_constraint(message.constraint),
        logprobs=message.logprobs if message.HasField("logprobs") else None,
        n=message.n if message.HasField("n") else 1,
        priority=message.priority,
        cache_salt=message.cache_salt,
        echo=message.echo,
    )


def generate_response(event: Event) -> pb.GenerateResponse:
    if isinstance(event, Chunk):
        return pb.GenerateResponse(chunk=_chunk(event))
    if isinstance(event, Accepted):
        accepted = pb.Accepted(
            request_id=event.request_id,
            lineage=lineage(event.lineage),
            queue_position=event.queue_position,
            prompt_tokens=event.prompt_tokens,
        )
        return pb.GenerateResponse(accepted=accepted)
    return pb.GenerateResponse(finished=_finished(event))


def _prompt(message: pb.GenerateRequest) -> Prompt:
    match message.WhichOneof("prompt"):
        case "text":
            return Prompt(text=message.text)
        case "messages":
            turns = message.messages.messages
            return Prompt(messages=[{"role": turn.role, "content": turn.content} for turn in turns])
        case _:
            return Prompt(token_ids=list(message.token_ids.ids))


def _sampling(message: pb.Sampling) -> Sampling:
    return Sampling(**{**_given(message), "logit_bias": dict(message.logit_bias)})


def _stopping(message: pb.Stopping) -> Stopping:
    given = {"max_tokens": DEFAULT_MAX_TOKENS, **_given(message)}
    given["stop"] = tuple(message.stop)
    given["stop_token_ids"] = frozenset(message.stop_token_ids)
    return Stopping(**given)


def _constraint(message: pb.Constraint) -> Constraint | None:
    match message.WhichOneof("form"):
        case None:
            return None
        case "choices":
            return Constraint(choices=tuple(message.choices.choices))
        case form:
            return Constraint(**{form: getattr(message, form)})


def _given(message: pb.Sampling | pb.Stopping) -> dict[str, Any]:
    """The fields that the client has set."""
    return {field.name: value for field, value in message.ListFields()}


def _chunk(chunk: Chunk) -> pb.TokenChunk:
    message = pb.TokenChunk(text=chunk.text, token_ids=chunk.token_ids, index=chunk.index, echo=chunk.echo)
    if isinstance(chunk, NamedChunk):
        message.logprobs.extend(_logprob(entry, chunk.names) for entry in chunk.logprobs)
    return message


def _logprob(entry: TokenLogprob, names: Mapping[int, str]) -> pb.TokenLogprob:
    return pb.TokenLogprob(
        token_id=entry.token_id,
        text=names[entry.token_id],
        logprob=entry.logprob,
        alternatives=[
            pb.Alternative(token_id=token, text=names[token], logprob=logprob) for token, logprob in entry.alternatives
        ],
    )


def _finished(event: Finished) -> pb.Finished:
    usage = event.usage
    return pb.Finished(
        reason=_reason(event.reason),
        usage=pb.Usage(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
        ),
        timings=timings(event.times),
        candidates=[_candidate(index, one) for index, one in enumerate(event.candidates)],
        error=event.error,
        seed=event.seed,
    )


def _candidate(index: int, candidate: Candidate) -> pb.Candidate:
    return pb.Candidate(
        index=index,
        reason=_reason(candidate.reason),
        completion_tokens=candidate.completion_tokens,
        score=candidate.score,
    )


def _reason(reason: FinishReason) -> str:
    return f"FINISH_REASON_{reason.name}"
