"""What this process is handling now, and the thread that keeps others from handling it too.

The broker delivers a message again that stays unacknowledged for the visibility timeout, and nothing in
Celery or kombu renews that. So this does: it sets the message's time in kombu's index anew. It also
pushes out the outbox row, so that the relay does not publish a message that is in good hands.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from kombu.transport import redis as kombu_redis

from shared.config import Settings
from shared.errors import Unavailable
from shared.messaging.broker import redis_client
from shared.messaging.celery_settings import renewal_seconds
from shared.storage import outbox
from shared.storage.database import Database
from shared.telemetry.logs import get_logger

UNACKED_INDEX: str = kombu_redis.Channel.unacked_index_key
log = get_logger(__name__)


class Claims:
    """The messages held by this process; renewed while its thread runs."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._held: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="claims", daemon=True)

    @contextmanager
    def held(self, message_id: str, delivery_tag: str) -> Iterator[bool]:
        """Holds a message for the block; gives False when this process holds it already."""
        with self._lock:
            free = message_id not in self._held
            if free:
                self._held[message_id] = delivery_tag
        try:
            yield free
        finally:
            if free:
                with self._lock:
                    del self._held[message_id]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def renew(self) -> None:
        """One round over all that is held. Raises Unavailable when a part is down."""
        with self._lock:
            held = dict(self._held)
        if not held:
            return
        with self._database.write() as session:
            outbox.keep_away(session, held.keys(), self._settings.redelivery_seconds)
        with redis_client(self._settings) as client:
            # xx: only what is still unacknowledged; ch has no effect on that, it makes the answer a count
            client.zadd(UNACKED_INDEX, {tag: time.time() for tag in held.values()}, xx=True, ch=True)

    def _renew_until_stopped(self) -> None:
        interval = min(renewal_seconds(self._settings), self._settings.redelivery_seconds / 3)
        while not self._stop.wait(interval):
            try:
                self.renew()
            except Unavailable as error:
                log.warning("claims were not renewed", error=str(error))
