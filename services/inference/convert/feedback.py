"""RecordFeedback and ExplainResponse."""

from collections.abc import Callable

import grpc
from google.protobuf.struct_pb2 import Struct

from services.inference.answering.explaining import Explanation
from services.inference.answering.feedback import Feedback, FeedbackOnAnswer
from services.inference.convert.common import lineage, timings
from services.inference.models.catalogue import AliasChange
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.rpc.status import from_rpc_error

FEEDBACK_SECONDS = 15.0


def explanation(seen: Explanation) -> pb.ExplainResponseResponse:
    answer = seen.answer
    return pb.ExplainResponseResponse(
        request_id=answer.request_id,
        method=answer.method,
        lineage=lineage(answer.lineage),
        timings=timings(answer.times),
        created_at=answer.created_at,
        history=[_change(one) for one in seen.history],
        promoted_at=seen.promoted_at,
        replaced_at=seen.replaced_at,
    )


def _change(seen: AliasChange) -> pb.AliasChange:
    return pb.AliasChange(
        alias=seen.alias,
        from_version=seen.from_version,
        to_version=seen.to_version,
        kind=seen.kind,
        reason=seen.reason,
        changed_at=seen.changed_at,
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
