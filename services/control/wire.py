"""Wires control together: gRPC for operators, the leader's loop, and the worker on queue `control`."""

import os
import socket

from services.control.fleet_metrics import FleetMetrics
from services.control.handlers import Handlers
from services.control.leader import LeaderLoop, Part
from services.control.leadership import Leadership
from services.control.pruning import Pruner
from services.control.searching import Searcher
from services.control.servicer import ControlServicer, register
from services.control.sweeper import Sweeper
from shared.config import Settings
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.rpc.limits import Limits
from shared.rpc.security import Security
from shared.rpc.server import Server
from shared.storage.database import Database
from shared.storage.ids import new_id
from shared.storage.migrate import migrate

QUEUE = "control"
SERVER_THREADS = 32


class Service:
    """Everything that one control process runs, wired. `address` is where its gRPC server listens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        migrate(settings.resolved_database_url)
        database = Database(settings.resolved_database_url)
        self._publisher = Publisher(settings, database)
        owner = f"{socket.gethostname()}-{os.getpid()}-{new_id('control')[-9:]}"
        self._loop = leader_loop(settings, database, self._publisher, Leadership(database, owner))
        self._server = Server(
            settings.listen, threads=SERVER_THREADS, security=Security.of(settings), limits=Limits.of(settings)
        )
        register(self._server, ControlServicer(settings, database))
        queues = [queue.strip() for queue in (settings.queues or QUEUE).split(",")]
        self._worker = Worker(settings, database, Handlers(settings).by_route, queues, settings.concurrency)
        self.address = self._server.address

    def start(self) -> None:
        """Answers calls and takes part in leading."""
        self._server.start()
        self._loop.start()

    def run(self) -> None:
        """Handles messages until SIGTERM or SIGINT, then drains."""
        try:
            self._worker.run()
        finally:
            self._loop.stop()
            self._server.stop(self._settings.grace_seconds)
            self._publisher.close()


def leader_loop(settings: Settings, database: Database, publisher: Publisher, leadership: Leadership) -> LeaderLoop:
    """What the leader does, and how often."""
    sweeper = Sweeper(database, leadership, settings.max_attempts)
    fleet, pruner = FleetMetrics(settings, database), Pruner(database, leadership)
    return LeaderLoop(
        leadership,
        [
            Part("relay", 0.25, lambda term: publisher.publish_due()),
            Part("sweeper", 2.0, sweeper.sweep),
            Part("searches", 1.0, Searcher(database, leadership).step),
            Part("fleet metrics", 2.0, fleet.export_database, fleet.clear),
            Part("queue metrics", 2.0, fleet.export_queues),
            Part("pruner", 60.0, pruner.prune),
            Part("outbox pruner", 60.0, lambda term: publisher.prune()),
        ],
    )
