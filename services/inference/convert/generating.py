"""Generate."""

from typing import Any

from services.inference.answering.generating import Accepted, Event, Finished
from services.inference.answering.requests import DEFAULT_MAX_TOKENS, GenerateRequest, Prompt
from services.inference.convert.common import lineage, model_ref, timings
from services.inference.engine.interface import Chunk, Sampling, Stopping
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb


def generate_request(message: pb.GenerateRequest) -> GenerateRequest:
    return GenerateRequest(
        model=model_ref(message.model),
        prompt=_prompt(message),
        sampling=_sampling(message.sampling),
        stopping=_stopping(message.stopping),
        request_id=message.request_id,
    )


def generate_response(event: Event) -> pb.GenerateResponse:
    if isinstance(event, Chunk):
        return pb.GenerateResponse(chunk=pb.TokenChunk(text=event.text, token_ids=event.token_ids))
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
    return Sampling(**_given(message))


def _stopping(message: pb.Stopping) -> Stopping:
    given = {"max_tokens": DEFAULT_MAX_TOKENS, **_given(message)}
    given["stop"] = tuple(message.stop)
    given["stop_token_ids"] = frozenset(message.stop_token_ids)
    return Stopping(**given)


def _given(message: pb.Sampling | pb.Stopping) -> dict[str, Any]:
    """The fields that the client has set."""
    return {field.name: value for field, value in message.ListFields()}


def _finished(event: Finished) -> pb.Finished:
    return pb.Finished(
        reason=f"FINISH_REASON_{event.reason.name}",
        usage=pb.Usage(prompt_tokens=event.usage.prompt_tokens, completion_tokens=event.usage.completion_tokens),
        timings=timings(event.times),
    )
