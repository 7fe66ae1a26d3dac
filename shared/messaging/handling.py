"""From a delivery to its handler, and from the handler's end to the outbox."""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from shared.config import Settings
from shared.contracts.codec import Delivery, decode
from shared.contracts.routes import Route
from shared.errors import InvalidArgument, RetryableError
from shared.messaging.claims import Claims
from shared.messaging.dead_letters import bury
from shared.messaging.handler import Handler, HandlerContext
from shared.storage import outbox
from shared.storage.database import Database
from shared.telemetry.logs import bound, get_logger
from shared.telemetry.metrics import QUEUE_WAIT_SECONDS, TASK_SECONDS

MOST_STARTS = 10
"""A message that ended its worker this often is given up."""
LONGEST_BACKOFF_SECONDS = 60.0
log = get_logger(__name__)


class Handling:
    """Handles deliveries; whatever happens, the message's row says what comes next."""

    def __init__(
        self, settings: Settings, database: Database, handlers: Mapping[Route, Handler], draining: threading.Event
    ) -> None:
        self._settings, self._database, self._draining = settings, database, draining
        self._handlers = dict(handlers)
        self.claims = Claims(settings, database)

    def handle(self, task: str, envelope: bytes, *, queue: str, delivery_tag: str, celery_id: str) -> None:
        """One delivery. Raises only what the database raises when it does not answer."""
        with bound(task=task, message_id=celery_id):
            try:
                delivery = decode(task, envelope)
            except InvalidArgument as error:
                self.give_up(queue, task, envelope, str(error), celery_id)
                return
            with self.claims.held(delivery.message_id, delivery_tag) as free:
                if free:
                    self._begin(delivery, envelope, queue)

    def give_up(
        self, queue: str, task: str, payload: bytes, error: str, message_id: str = "", attempts: int = 0
    ) -> None:
        """Writes a dead letter."""
        log.error("message given up", queue=queue, task=task, error=error, attempts=attempts)
        with self._database.write() as session:
            type_name = _type_name(task, payload)
            bury(
                session,
                queue=queue,
                task=task,
                payload=payload,
                error=error,
                message_id=message_id,
                type_name=type_name,
                attempts=attempts,
            )

    def _begin(self, delivery: Delivery, envelope: bytes, queue: str) -> None:
        with self._database.write() as session:
            start = outbox.begin(session, delivery.message_id, self._settings.redelivery_seconds)
        if start is None:
            log.debug("message was handled before")
            return
        task, attempts = delivery.route.task, start.failures + 1
        if start.starts > MOST_STARTS:
            error = f"its worker ended {start.starts - 1} times while handling it"
            self.give_up(queue, task, envelope, error, delivery.message_id, attempts)
            return
        if start.failures == 0 and start.starts == 1:
            wait = (datetime.now(UTC) - delivery.created_at).total_seconds()
            QUEUE_WAIT_SECONDS.labels(queue).observe(max(0.0, wait))
        began = time.monotonic()
        outcome = self._run(delivery, envelope, queue, attempts)
        seconds = time.monotonic() - began
        TASK_SECONDS.labels(task, outcome).observe(seconds)
        log.info("message handled", outcome=outcome, seconds=round(seconds, 4))

    def _run(self, delivery: Delivery, envelope: bytes, queue: str, attempts: int) -> str:
        context = HandlerContext(delivery.message_id, self._draining, self._database)
        try:
            self._handlers[delivery.route](delivery.message, context)
        except RetryableError as error:
            self._postpone(delivery, error.retry_seconds, error, failed=False)
            return "retry"
        except Exception as error:
            log.exception("handler failed", attempts=attempts)
            if attempts < self._settings.max_attempts:
                backoff = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (attempts - 1))
                self._postpone(delivery, backoff, error, failed=True)
                return "failed"
            reason = f"{type(error).__name__}: {error}"
            self.give_up(queue, delivery.route.task, envelope, reason, delivery.message_id, attempts)
            return "dead"
        with self._database.write() as session:
            outbox.finish(session, delivery.message_id)
        return "done"

    def _postpone(self, delivery: Delivery, seconds: float, error: Exception, *, failed: bool) -> None:
        with self._database.write() as session:
            outbox.postpone(session, delivery.message_id, seconds, f"{type(error).__name__}: {error}", failed=failed)


def _type_name(task: str, payload: bytes) -> str:
    try:
        return decode(task, payload).route.type_name
    except InvalidArgument:
        return ""
