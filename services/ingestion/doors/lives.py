"""The RPC that tells the life of a row."""

import grpc

from services.ingestion.queries.lives import Event, Life
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb


class LivesDoor:
    """ExplainRow."""

    _rooms: Rooms

    def ExplainRow(self, request: pb.ExplainRowRequest, context: grpc.ServicerContext) -> pb.RowLife:
        return life_message(self._rooms.lives.explain(request.pipeline, request.row))


def life_message(life: Life) -> pb.RowLife:
    message = pb.RowLife(
        row=pb.Row(id=life.row_id, split=life.split, batch=life.batch),
        events=map(event_message, life.events),
        near=life.near,
        dataset_versions=life.dataset_versions,
        model_versions=life.model_versions,
    )
    message.row.fields.update(life.fields)
    return message


def event_message(event: Event) -> pb.RowEvent:
    message = pb.RowEvent(event=event.event, subject=event.subject, detail=event.detail)
    message.at.FromDatetime(event.at)
    return message
