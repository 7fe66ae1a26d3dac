"""The parts of this service, put together."""

from services.ingestion.deleting.deleting import Deleter
from services.ingestion.following.desk import SourceDesk
from services.ingestion.following.following import Following
from services.ingestion.index.indexes import Indexes
from services.ingestion.intake.feedback import FeedbackKeeper
from services.ingestion.intake.receiving import Receiver
from services.ingestion.intake.uploads import Uploads
from services.ingestion.queries.catalogue import Catalogue
from services.ingestion.queries.diffing import Differ
from services.ingestion.queries.languages import LanguageSamples
from services.ingestion.queries.lives import Lives
from services.ingestion.remote.desk import ImportDesk
from services.ingestion.remote.fetching import Fetcher
from services.ingestion.remote.importing import Importer
from services.ingestion.rules.personal.keys import key_source
from services.ingestion.storing.parts import Parts
from services.ingestion.storing.sweeping import Sweeper
from services.ingestion.versions.building import Builder
from services.ingestion.versions.holding import Holding
from services.ingestion.versions.retention import Keeper
from shared.config import Settings
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database


class Rooms:
    """Everything that the gRPC service and the queue's handlers call."""

    def __init__(self, settings: Settings, database: Database) -> None:
        artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
        scratch = settings.home / "ingestion"
        self.parts = Parts(database, artifacts)
        indexes = Indexes(database, artifacts, scratch)
        self.receiver = Receiver(database, self.parts, indexes, scratch, key_source(settings))
        self.uploads = Uploads(database, settings.home / "uploads", scratch)
        self.holding = Holding(database, artifacts, self.parts, indexes, scratch)
        self.builder = Builder(database, artifacts, self.holding)
        self.feedback = FeedbackKeeper(database, self.receiver, settings.max_row_bytes)
        self.catalogue = Catalogue(database, artifacts)
        self.languages = LanguageSamples(database, artifacts)
        self.lives = Lives(database, artifacts, indexes)
        sweeper = Sweeper(database, artifacts)
        self.keeper = Keeper(database, artifacts, sweeper)
        self.deleter = Deleter(database, artifacts, indexes, sweeper, scratch)
        self.differ = Differ(database, artifacts)
        fetcher = Fetcher(settings)
        self.importer = Importer(settings, database, self.receiver, fetcher)
        self.imports = ImportDesk(database, fetcher.policy, self.importer.wake)
        self.following = Following(settings, database, self.receiver, fetcher)
        self.sources = SourceDesk(database)
