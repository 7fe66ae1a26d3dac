"""Between protobuf messages and what the service works with."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.inference.answering.answers import Answer, Times
from services.inference.answering.classifying import ClassifyAnswer
from services.inference.answering.feedback import Feedback, FeedbackOnAnswer
from services.inference.answering.generating import Accepted, Event, Finished
from services.inference.answering.requests import DEFAULT_MAX_TOKENS, GenerateRequest, ModelRef, Prompt
from services.inference.deployments.deployment import DeploymentView
from services.inference.engine.interface import Chunk, Load, Sampling, Stopping
from services.inference.models.lineage import CHAMPION, Lineage
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.inference.v1 import serving_pb2
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.rpc.status import from_rpc_error

FEEDBACK_SECONDS = 15.0


def model_ref(message: common_pb2.ModelRef) -> ModelRef:
    return ModelRef(message.name, message.alias or CHAMPION, message.version)


def generate_request(message: pb.GenerateRequest) -> GenerateRequest:
    return GenerateRequest(
        model=model_ref(message.model),
        prompt=_prompt(message),
        sampling=_sampling(message.sampling),
        stopping=_stopping(message.stopping),
        request_id=message.request_id,
    )


def classify_response(answer: ClassifyAnswer) -> pb.ClassifyResponse:
    results = [
        pb.Classification(labels=[pb.LabelScore(label=label, score=score) for label, score in result])
        for result in answer.results
    ]
    return pb.ClassifyResponse(
        results=results,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        request_id=answer.request_id,
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


def tokenize_response(results: Sequence[tuple[list[int], list[str]]]) -> pb.TokenizeResponse:
    return pb.TokenizeResponse(results=[pb.Tokenized(ids=ids, pieces=pieces) for ids, pieces in results])


def explanation(answer: Answer) -> pb.ExplainResponseResponse:
    created = Timestamp()
    created.FromDatetime(answer.created_at)
    return pb.ExplainResponseResponse(
        request_id=answer.request_id,
        method=answer.method,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        created_at=created,
    )


def feedback(message: pb.RecordFeedbackRequest) -> Feedback:
    return Feedback(
        request_id=message.request_id,
        rating=message.rating if message.HasField("rating") else None,
        correction=message.correction if message.HasField("correction") else None,
        comment=message.comment,
        consent=message.consent,
        index=message.index,
    )


def feedback_sender(channel: grpc.Channel) -> Callable[[FeedbackOnAnswer], pb.RecordFeedbackResponse]:
    """Carries feedback to ingestion. The call is idempotent by request id, so the channel may retry it."""
    stub = IngestionStub(channel)

    def send(about: FeedbackOnAnswer) -> pb.RecordFeedbackResponse:
        try:
            kept = stub.RecordFeedback(_about(about), timeout=FEEDBACK_SECONDS)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        batch = kept.batch if kept.HasField("batch") else None
        return pb.RecordFeedbackResponse(feedback=kept.id, batch=batch)

    return send


def deployment(seen: DeploymentView, server: str) -> serving_pb2.Deployment:
    message = serving_pb2.Deployment(
        server=server,
        model=seen.key.model,
        version=seen.key.version,
        aliases=seen.aliases,
        state=f"DEPLOYMENT_STATE_{seen.state.name}",
        error=seen.error,
        lineage=lineage(seen.lineage),
    )
    if seen.swap_seconds is not None:
        message.swap.CopyFrom(duration(seen.swap_seconds))
    if seen.ready_at is not None:
        message.ready_at.FromDatetime(seen.ready_at)
    return message


def load(seen: Load) -> serving_pb2.Load:
    return serving_pb2.Load(
        running=seen.running,
        waiting=seen.waiting,
        waiting_tokens=seen.waiting_tokens,
        cache_used_ratio=seen.cache_used,
        oldest_wait=duration(seen.oldest_wait_seconds),
    )


def lineage(of: Lineage) -> common_pb2.Lineage:
    return common_pb2.Lineage(
        model=of.model,
        version=of.version,
        weights_digest=of.weights_digest,
        adapter_digest=of.adapter_digest,
        run=of.run,
        dataset_version=of.dataset_version,
        report=of.report,
        engine=of.engine,
    )


def timings(times: Times) -> common_pb2.Timings:
    return common_pb2.Timings(
        queue=duration(times.queue),
        compute=duration(times.compute),
        total=duration(times.total),
        first_token=None if times.first_token is None else duration(times.first_token),
    )


def duration(seconds: float) -> Duration:
    message = Duration()
    message.FromNanoseconds(int(seconds * 1e9))
    return message


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


def _about(about: FeedbackOnAnswer) -> ingestion_pb2.RecordFeedbackRequest:
    asked = Struct()
    asked.update(dict(about.input))
    given = about.feedback
    return ingestion_pb2.RecordFeedbackRequest(
        pipeline=about.pipeline,
        request_id=given.request_id,
        model_version=about.model_version,
        input=asked,
        output=about.output,
        rating=given.rating,
        correction=given.correction,
        comment=given.comment,
        consent=given.consent,
    )
