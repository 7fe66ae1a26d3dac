"""The process: a gRPC server beside a worker, on one database."""

from services.ingestion.handlers import handlers
from services.ingestion.housekeeping import Housekeeper
from services.ingestion.rooms import Rooms
from services.ingestion.servicer import serve
from shared.config import Settings
from shared.contracts.routes import BUILD_DATASET_VERSION
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.rpc.limits import Limits
from shared.rpc.security import Security
from shared.rpc.server import Server
from shared.storage.database import Database
from shared.storage.migrate import migrate

RPC_THREADS = 32
"""Calls at once; a batch holds one for as long as its client sends."""


class Service:
    """Serves from `start` until `run` returns, which it does once the process was asked to end."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._rooms = Rooms(settings, database)
        self._housekeeper = Housekeeper(self._rooms.parts, self._rooms.keeper)
        self._publisher = Publisher(settings, database)
        queues = settings.queues.split(",") if settings.queues else BUILD_DATASET_VERSION.queues
        self._worker = Worker(settings, database, handlers(self._rooms), queues, settings.concurrency)
        self._server = Server(
            settings.listen, threads=RPC_THREADS, security=Security.of(settings), limits=Limits.of(settings)
        )
        serve(self._server, self._rooms, settings.max_row_bytes)
        self.address = self._server.address

    def start(self) -> None:
        self._housekeeper.start()
        self._rooms.importer.start(self._worker.draining)
        self._rooms.following.start()
        self._server.start()

    def run(self) -> None:
        """Blocks; then lets calls end within the grace."""
        self._worker.run()
        self._housekeeper.stop()
        self._rooms.following.stop()
        self._rooms.importer.stop(self._settings.grace_seconds)
        self._server.stop(self._settings.grace_seconds)
        self._publisher.close()
        self._database.close()


def wire(settings: Settings) -> Service:
    """The service on its database, which is brought up to date first."""
    migrate(settings.resolved_database_url)
    return Service(settings, Database(settings.resolved_database_url))
