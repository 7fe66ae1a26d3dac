"""Publishing the outbox: at once in the process that wrote a message, and again by the leader's relay."""

import queue
import threading
from datetime import timedelta

from shared.config import Settings
from shared.errors import Unavailable
from shared.messaging.sender import Sender
from shared.storage import outbox
from shared.storage.database import Database
from shared.telemetry.logs import get_logger

AGAIN_SECONDS = 1.0
"""A message that the broker did not take is due again after this."""
KEEP = timedelta(hours=1)
"""Done messages are kept this long, so that a late duplicate is known for one."""
log = get_logger(__name__)


class Publisher:
    """Publishes what this process commits from a thread of its own; a commit never waits for the broker."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._sender = Sender(settings)
        self._written: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._away = False
        self._thread = threading.Thread(target=self._publish_written, name="publisher", daemon=True)
        self._thread.start()
        database.after_commit = self._written.put

    def publish_due(self, limit: int = 100) -> int:
        """Publishes what is due and returns how many the broker took; 0 when it is away.

        Raises Unavailable when the database is.
        """
        with self._database.write() as session:
            parcels = outbox.claim_due(session, limit, self._settings.redelivery_seconds)
        if not parcels or self._sent(parcels):
            return len(parcels)
        with self._database.write() as session:
            outbox.give_back(session, [parcel.id for parcel in parcels], AGAIN_SECONDS)
        return 0

    def prune(self) -> int:
        """Deletes messages that were done an hour ago; returns how many."""
        with self._database.write() as session:
            return outbox.prune(session, KEEP.total_seconds())

    def close(self) -> None:
        """Publishes what was committed so far and ends the thread."""
        self._database.after_commit = lambda outbox_ids: None
        self._written.put(None)
        self._thread.join()
        self._sender.close()

    def _publish_written(self) -> None:
        while (ids := self._written.get()) is not None:
            try:
                self._publish(ids)
            except Unavailable as error:
                log.warning("left to the relay", messages=len(ids), error=str(error))
            except Exception:
                log.exception("left to the relay", messages=len(ids))

    def _publish(self, ids: list[str]) -> None:
        with self._database.read() as session:
            parcels = outbox.unpublished(session, ids)
        if parcels and self._sent(parcels):
            with self._database.write() as session:
                outbox.mark_published(session, ids, self._settings.redelivery_seconds)

    def _sent(self, parcels: list[outbox.Parcel]) -> bool:
        try:
            self._sender.send(parcels)
        except Unavailable as error:
            if not self._away:
                log.warning("messages wait in the outbox", error=str(error))
            self._away = True
            return False
        if self._away:
            log.info("the broker takes messages again")
        self._away = False
        return True
