"""The parts of this service, put together."""

from services.ingestion.building import Builder
from services.ingestion.catalogue import Catalogue
from services.ingestion.feedback import FeedbackKeeper
from services.ingestion.holding import Holding
from services.ingestion.parts import Parts
from services.ingestion.receiving import Receiver
from shared.config import Settings
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database


class Rooms:
    """Everything that the gRPC service and the queue's handlers call."""

    def __init__(self, settings: Settings, database: Database) -> None:
        artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
        scratch = settings.home / "ingestion"
        self.parts = Parts(database, artifacts)
        self.receiver = Receiver(database, self.parts, scratch)
        self.holding = Holding(database, artifacts, self.parts, scratch)
        self.builder = Builder(database, artifacts, self.holding)
        self.feedback = FeedbackKeeper(database, self.receiver, settings.max_row_bytes)
        self.catalogue = Catalogue(database, artifacts)
