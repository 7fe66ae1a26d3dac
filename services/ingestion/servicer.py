"""flywheel.ingestion.v1.Ingestion: convert, call, convert."""

import grpc

from services.ingestion import convert
from services.ingestion.doors.batches import BatchesDoor
from services.ingestion.doors.imports import ImportsDoor
from services.ingestion.doors.lives import LivesDoor
from services.ingestion.doors.versions import OPERATOR, VersionsDoor
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2_grpc
from shared.rpc.paging import next_token, page
from shared.rpc.server import Server

NAME = "flywheel.ingestion.v1.Ingestion"


def serve(server: Server, rooms: Rooms, max_row_bytes: int) -> None:
    """Adds the service to a gRPC server."""
    servicer = IngestionServicer(rooms, max_row_bytes)
    server.add(NAME, ingestion_pb2_grpc.add_IngestionServicer_to_server, servicer)


class IngestionServicer(BatchesDoor, ImportsDoor, LivesDoor, VersionsDoor, ingestion_pb2_grpc.IngestionServicer):
    """The service's door."""

    def __init__(self, rooms: Rooms, max_row_bytes: int) -> None:
        self._rooms, self._max_row_bytes = rooms, max_row_bytes

    def RecordFeedback(self, request: pb.RecordFeedbackRequest, context: grpc.ServicerContext) -> pb.Feedback:
        return convert.feedback_message(self._rooms.feedback.record(convert.opinion_of(request)))

    def GetBatch(self, request: pb.GetBatchRequest, context: grpc.ServicerContext) -> pb.Batch:
        return convert.batch_message(self._rooms.catalogue.batch(request.id))

    def ListBatches(self, request: pb.ListBatchesRequest, context: grpc.ServicerContext) -> pb.ListBatchesResponse:
        limit, offset = page(request.page_size, request.page_token)
        found = self._rooms.catalogue.batches(request.pipeline, limit + 1, offset)
        token = next_token(limit, offset, len(found))
        return pb.ListBatchesResponse(batches=map(convert.batch_message, found[:limit]), next_page_token=token)

    def HoldBatch(self, request: pb.HoldBatchRequest, context: grpc.ServicerContext) -> pb.Batch:
        return convert.batch_message(self._rooms.holding.hold(request.id, request.reason, OPERATOR))

    def ReleaseBatch(self, request: pb.ReleaseBatchRequest, context: grpc.ServicerContext) -> pb.Batch:
        return convert.batch_message(self._rooms.holding.release(request.id, request.reason, OPERATOR))

    def ListQuarantine(
        self, request: pb.ListQuarantineRequest, context: grpc.ServicerContext
    ) -> pb.ListQuarantineResponse:
        limit, offset = page(request.page_size, request.page_token)
        found = self._rooms.catalogue.quarantine(request.pipeline, request.batch, limit + 1, offset)
        token = next_token(limit, offset, len(found))
        return pb.ListQuarantineResponse(rows=map(convert.quarantine_message, found[:limit]), next_page_token=token)
