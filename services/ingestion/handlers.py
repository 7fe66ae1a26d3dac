"""What this service does with the messages of its queue."""

from collections.abc import Mapping

from services.ingestion.remote.importing import Importer
from services.ingestion.rooms import Rooms
from services.ingestion.versions.building import Builder
from services.ingestion.versions.holding import Holding
from services.ingestion.versions.retention import Keeper
from shared.contracts.messages import BuildDatasetVersion, HoldBatches, RunImport
from shared.contracts.routes import BUILD_DATASET_VERSION, HOLD_BATCHES, RUN_IMPORT, Route
from shared.messaging.handler import Handler, HandlerContext

GATE = "gate"


def handlers(rooms: Rooms) -> Mapping[Route, Handler]:
    """One handler a message."""
    return {
        BUILD_DATASET_VERSION: _build(rooms.builder, rooms.keeper),
        HOLD_BATCHES: _hold(rooms.holding),
        RUN_IMPORT: _import(rooms.importer),
    }


def _build(builder: Builder, keeper: Keeper) -> Handler:
    def build(message: BuildDatasetVersion, context: HandlerContext) -> None:
        if builder.build(message.pipeline) is not None:
            keeper.apply(message.pipeline)

    return build


def _hold(holding: Holding) -> Handler:
    def hold(message: HoldBatches, context: HandlerContext) -> None:
        reason = f"{message.reason} (report {message.report})" if message.report else message.reason
        holding.hold_all(message.pipeline, message.batches, reason, GATE)

    return hold


def _import(importer: Importer) -> Handler:
    """The message is done at once: what waits stands in the database, and threads of their own run it."""

    def run(message: RunImport, context: HandlerContext) -> None:
        importer.wake()

    return run
