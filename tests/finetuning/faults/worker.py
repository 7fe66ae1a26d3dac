"""A worker on the queue of runs whose training processes are scripted: `python -m tests.finetuning.faults.worker BEHAVIOUR`.

It writes a letter into the file `deliveries` of its home for every message, before anything is done about it.
"""

import os
import sys

from services.finetuning.supervisor import Supervisor
from shared.config import load_settings
from shared.contracts.messages import RunJob
from shared.contracts.routes import RUN_JOB
from shared.messaging.handler import HandlerContext
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from tests.integration.finetuning.support import Unspared, scripted


def main() -> None:
    settings = load_settings()
    database = Database(settings.resolved_database_url)
    publisher = Publisher(settings, database)
    artifacts = Artifacts(settings.resolved_artifacts_url, settings.cache_folder)
    supervisor = Supervisor(settings, artifacts, Unspared(scripted(sys.argv[1])))
    deliveries = os.open(settings.home / "deliveries", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(message: RunJob, context: HandlerContext) -> None:
        os.write(deliveries, b".")
        supervisor.run_job(message, context)

    Worker(settings, database, {RUN_JOB: handle}, [RUN_JOB.queue_for("cpu")], settings.concurrency).run()
    publisher.close()
    database.close()


if __name__ == "__main__":
    main()
