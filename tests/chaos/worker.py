"""A worker process of its own, for tests that end it: `python -m tests.chaos.worker SECONDS`.

Its handler takes SECONDS, or until draining with `--drain`, and writes what it did to standard output.
"""

import sys
import time

from shared.config import load_settings
from shared.contracts.messages import HoldBatches
from shared.messaging.handler import HandlerContext
from shared.messaging.publisher import Publisher
from shared.messaging.worker import Worker
from shared.storage.database import Database
from shared.telemetry.logs import configure_logs
from tests.support.messaging import QUEUE, handlers_with


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def handle(message: HoldBatches, context: HandlerContext) -> None:
    """Takes its time, and listens for the drain when it was told to."""
    say(f"began {message.pipeline}")
    if "--drain" in sys.argv:
        context.draining.wait(60)
        say("draining")
    time.sleep(float(sys.argv[1]))
    say(f"ended {message.pipeline}")


def main() -> None:
    configure_logs("worker", "text")
    settings = load_settings()
    database = Database(settings.resolved_database_url)
    publisher = Publisher(settings, database)
    worker = Worker(settings, database, handlers_with(handle), [QUEUE])
    say("started")
    worker.run()
    publisher.close()
    database.close()
    say("drained")


if __name__ == "__main__":
    main()
