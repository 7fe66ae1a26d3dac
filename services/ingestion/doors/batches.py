"""The RPCs that rows come in by."""

from collections.abc import Iterable, Iterator

import grpc

from services.ingestion import convert
from services.ingestion.intake.uploads import Coder, file_upload, rows_upload
from services.ingestion.reading.content import Stream
from services.ingestion.reading.files import Reading, Told
from services.ingestion.reading.received import Received
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import InvalidArgument

CODER = Coder[pb.RowChunk](pb.RowChunk.SerializeToString, pb.RowChunk.FromString, lambda chunk: len(chunk.rows))


class BatchesDoor:
    """AppendRows, ImportFile, GetUpload."""

    _rooms: Rooms
    _max_row_bytes: int

    def AppendRows(self, request_iterator: Iterator[pb.AppendRowsRequest], context: grpc.ServicerContext) -> pb.Batch:
        header = convert.opened(next(request_iterator, None))
        chunks = convert.row_chunks(request_iterator)
        if header.dry_run:
            return self._preview(header, convert.rows_of(chunks, self._max_row_bytes))
        upload = rows_upload(header.size)
        with self._rooms.uploads.rows(
            header.pipeline, header.batch_key, upload, header.offset, chunks, CODER
        ) as arriving:
            return self._receive(header, convert.rows_of(arriving, self._max_row_bytes))

    def ImportFile(self, request_iterator: Iterator[pb.ImportFileRequest], context: grpc.ServicerContext) -> pb.Batch:
        header = convert.opened(next(request_iterator, None))
        fields = self._rooms.uploads.product_fields(header.pipeline)
        told = Told(header.format, header.encoding, header.filename, fields)
        pieces, scratch = convert.chunks_of(request_iterator), self._rooms.uploads.scratch
        if header.dry_run:
            content = Stream(pieces, scratch)
            return self._preview(header, Reading(content, told, self._max_row_bytes, scratch))
        upload = file_upload(header.size, header.sha256)
        with self._rooms.uploads.file(header.pipeline, header.batch_key, upload, header.offset, pieces) as arriving:
            return self._receive(header, Reading(arriving, told, self._max_row_bytes, scratch))

    def GetUpload(self, request: pb.GetUploadRequest, context: grpc.ServicerContext) -> pb.Upload:
        return convert.upload_message(self._rooms.uploads.held(request.pipeline, request.batch_key))

    def _receive(self, header: pb.BatchHeader, rows: Iterable[Received]) -> pb.Batch:
        return convert.answer_message(self._rooms.receiver.receive(convert.header_of(header), rows))

    def _preview(self, header: pb.BatchHeader, rows: Iterable[Received]) -> pb.Batch:
        if header.offset:
            raise InvalidArgument("a dry run keeps nothing to go on with; offset must be 0", field="offset")
        return convert.preview_message(self._rooms.receiver.preview(convert.header_of(header), rows))
