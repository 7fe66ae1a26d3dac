"""What this service does with the messages of its queue."""

from collections.abc import Mapping

from services.ingestion.building import Builder
from services.ingestion.holding import Holding
from services.ingestion.rooms import Rooms
from shared.contracts.messages import BuildDatasetVersion, HoldBatches
from shared.contracts.routes import BUILD_DATASET_VERSION, HOLD_BATCHES, Route
from shared.messaging.handler import Handler, HandlerContext

GATE = "gate"


def handlers(rooms: Rooms) -> Mapping[Route, Handler]:
    """One handler a message."""
    return {BUILD_DATASET_VERSION: _build(rooms.builder), HOLD_BATCHES: _hold(rooms.holding)}


def _build(builder: Builder) -> Handler:
    def build(message: BuildDatasetVersion, context: HandlerContext) -> None:
        builder.build(message.pipeline)

    return build


def _hold(holding: Holding) -> Handler:
    def hold(message: HoldBatches, context: HandlerContext) -> None:
        reason = f"{message.reason} (report {message.report})" if message.report else message.reason
        holding.hold_all(message.pipeline, message.batches, reason, GATE)

    return hold
