"""RecordFeedback and ExplainResponse."""

from collections.abc import Callable

import grpc
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.inference.answering.answers import Answer
from services.inference.answering.feedback import Feedback, FeedbackOnAnswer
from services.inference.convert.common import lineage, timings
from shared.contracts.generated.flywheel.inference.v1 import inference_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2
from shared.contracts.generated.flywheel.ingestion.v1.ingestion_pb2_grpc import IngestionStub
from shared.rpc.status import from_rpc_error

FEEDBACK_SECONDS = 15.0


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
