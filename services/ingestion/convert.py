"""Between protobuf and what the rooms of this service speak."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from services.ingestion.intake.feedback import Kept, Opinion
from services.ingestion.intake.preview import Preview, PreviewedRow
from services.ingestion.intake.receiving import Answer, Header
from services.ingestion.intake.uploads import Held
from services.ingestion.reading.received import Received, check_size
from shared.contracts.generated.flywheel.common.v1 import common_pb2
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import InvalidArgument
from shared.rows import RowError
from shared.storage.tables import Batch, QuarantinedRow


def opened(message: pb.AppendRowsRequest | pb.ImportFileRequest | None) -> pb.BatchHeader:
    """Raises InvalidArgument unless the stream's first message is the header."""
    if message is None or message.WhichOneof("content") != "header":
        raise InvalidArgument("the first message of the stream must be the header", field="header")
    return message.header


def header_of(message: pb.BatchHeader) -> Header:
    return Header(message.pipeline, message.batch_key, message.source, message.licence)


def row_chunks(messages: Iterable[pb.AppendRowsRequest]) -> Iterator[pb.RowChunk]:
    """The rows of a stream after its header, as they came together."""
    for message in messages:
        content = message.WhichOneof("content")
        if content == "header":
            raise InvalidArgument("the header came twice; one stream is one batch", field="header")
        if content == "rows":
            yield message.rows
        elif content == "row":
            yield pb.RowChunk(rows=[message.row])


def rows_of(chunks: Iterable[pb.RowChunk], limit: int) -> Iterator[Received]:
    """The rows of a stream, one by one."""
    position = 0
    for chunk in chunks:
        for row in chunk.rows:
            position += 1
            yield _received(position, row, limit)


def chunks_of(messages: Iterable[pb.ImportFileRequest]) -> Iterator[bytes]:
    """The bytes of a file after its header."""
    for message in messages:
        if message.WhichOneof("content") == "header":
            raise InvalidArgument("the header came twice; one stream is one file", field="header")
        yield message.chunk


def upload_message(held: Held) -> pb.Upload:
    message = pb.Upload(received=held.received)
    if held.batch is not None:
        message.batch.CopyFrom(batch_message(held.batch))
    if held.expires_at is not None:
        message.expires_at.FromDatetime(held.expires_at)
    return message


def preview_message(preview: Preview) -> pb.Batch:
    message = batch_message(preview.batch)
    message.preview.extend(map(_previewed, preview.rows))
    return message


def _previewed(row: PreviewedRow) -> pb.PreviewRow:
    message = pb.PreviewRow(
        line=row.line,
        outcome=row.outcome,
        split=row.split,
        reason=row.reason,
        message=row.message,
        rules=row.rules,
    )
    message.fields.update({name: value for name, value in (row.fields or {}).items() if value is not None})
    return message


def to_fields(struct: Struct) -> dict[str, Any]:
    """A Struct as plain Python; much faster than protobuf's own converter."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def opinion_of(request: pb.RecordFeedbackRequest) -> Opinion:
    return Opinion(
        pipeline=request.pipeline,
        request_id=request.request_id,
        model_version=request.model_version,
        input=to_fields(request.input),
        output=request.output,
        rating=request.rating if request.HasField("rating") else None,
        correction=request.correction if request.HasField("correction") else None,
        comment=request.comment,
        consent=request.consent,
    )


def answer_message(answer: Answer) -> pb.Batch:
    message = batch_message(answer.batch)
    message.repeated_call = answer.repeated
    return message


def batch_message(batch: Batch) -> pb.Batch:
    message = pb.Batch(
        id=batch.id,
        pipeline=batch.pipeline,
        batch_key=batch.batch_key,
        source=batch.source,
        state=f"BATCH_STATE_{batch.state.upper()}",
        received=batch.received,
        accepted=batch.accepted,
        duplicates=batch.duplicates,
        quarantined=batch.quarantined,
        quarantine_reasons=[
            pb.ReasonCount(reason=reason, rows=rows) for reason, rows in sorted(batch.quarantine_reasons.items())
        ],
        splits=common_pb2.SplitCounts(train=batch.train, validation=batch.validation, test=batch.test),
        dataset_version=batch.dataset_version or 0,
        reason=batch.reason,
        near_duplicates=batch.near_duplicates or 0,
        rules=[pb.RuleCount(rule=one["rule"], action=one["action"], rows=one["rows"]) for one in batch.rules or ()],
        format=batch.format,
        encoding=batch.encoding,
        licence=batch.licence,
    )
    message.created_at.FromDatetime(batch.created_at)
    return message


def feedback_message(kept: Kept) -> pb.Feedback:
    message = pb.Feedback(id=kept.feedback.id, request_id=kept.feedback.request_id)
    if kept.batch:
        message.batch.CopyFrom(batch_message(kept.batch))
    return message


def quarantine_message(row: QuarantinedRow) -> pb.QuarantinedRow:
    return pb.QuarantinedRow(
        batch=row.batch, line=row.line, reason=row.reason, field=row.field, message=row.message, raw=row.raw
    )


def _received(position: int, row: Struct, limit: int) -> Received:
    fields, size = to_fields(row), row.ByteSize()
    try:
        check_size(size, limit)
    except RowError as error:
        return Received(position, error, fields, size)
    return Received(position, fields, fields, size)


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return to_fields(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind is None or kind == "null_value" else getattr(value, kind)
