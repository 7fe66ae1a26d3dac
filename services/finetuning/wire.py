"""Puts the worker together: database, publisher, artifacts, spare training process, supervisor."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.finetuning.heartbeat import Heartbeat, devices_of
from services.finetuning.spare import Spares
from services.finetuning.supervisor import Supervisor
from shared.config import Settings
from shared.contracts.routes import RUN_JOB
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.migrate import migrate


@contextmanager
def wired(settings: Settings) -> Iterator[Worker]:
    """A worker on the queues of the settings, or on its device's; what it needs is closed at the end."""
    migrate(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder, settings.artifacts_endpoint)
    own = RUN_JOB.queue_for("gpu" if settings.device == "cuda" else "cpu")
    queues = [queue.strip() for queue in (settings.queues or own).split(",")]
    publisher = Publisher(settings, database)
    try:
        with Spares() as spares, Heartbeat(database, devices_of(queues)):
            handlers = {RUN_JOB: Supervisor(settings, artifacts, spares).run_job}
            yield Worker(settings, database, handlers, queues, settings.concurrency)
    finally:
        publisher.close()
        database.close()
