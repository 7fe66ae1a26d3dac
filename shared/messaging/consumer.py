"""Celery's consumer, with dead letters instead of log lines for what no task takes."""

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown

from shared.telemetry.logs import get_logger

Unhandled = Callable[[str, str, bytes, str, str], None]
"""Told queue, Celery task, body, what is wrong, and message id."""
log = get_logger(__name__)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Consumes for an app that went through `on_unhandled`.

    An acknowledgement that fails ends the connection. Celery's own only logs it: the message then fills
    its place for ever, and a worker with one place never asks for another.
    """

    def ensure_connected(self, conn: Any) -> Any:
        """Waits for a broker that is away, and asks every three seconds at least; Celery's own wait grows to 30."""
        conn.ensure_connection(
            self._log_away, None, interval_start=0.2, interval_step=0.4, interval_max=3, callback=maybe_shutdown
        )
        self.first_connection_attempt = False
        return conn

    def _log_away(self, error: Exception, interval: float) -> None:
        log.warning("the broker does not answer", error=str(error), again_in_seconds=round(interval, 1))

    def create_task_handler(self, *args: Any) -> Callable[[Any], None]:
        take = super().create_task_handler(*args)

        def take_or_bury(message: Any) -> None:
            message.ack_log_error = lambda *args, **options: message.ack()
            try:
                take(message)
            except Exception as error:
                # kombu counts KeyError among the connection errors, but here it is the message's fault
                if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                    raise
                self._unhandled(message, f"can't be taken: {type(error).__name__}: {error}")

        return take_or_bury

    def on_unknown_task(self, body: object, message: Any, exc: Exception) -> None:
        self._unhandled(message, f"no handler for the Celery task {_task(message)!r} in this worker")

    def on_unknown_message(self, body: object, message: Any) -> None:
        self._unhandled(message, "no Celery message")

    def on_invalid_task(self, body: object, message: Any, exc: Exception) -> None:
        self._unhandled(message, f"invalid Celery message: {exc}")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._unhandled(message, f"can't be decoded: {exc}")

    def _unhandled(self, message: Any, problem: str) -> None:
        queue = str((message.delivery_info or {}).get("routing_key", ""))
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        id = str((message.headers or {}).get("id", ""))
        try:
            self.app.unhandled(queue, _task(message), body, problem, id)
        except Exception:
            log.exception("dead letter was not written", queue=queue, problem=problem)
        message.ack()


def _task(message: Any) -> str:
    return str((message.headers or {}).get("task", ""))


def on_unhandled(app: Celery, report: Unhandled) -> None:
    """Has the app's workers use this consumer, and tell `report`."""
    app.unhandled = report
    app.conf.worker_consumer = "shared.messaging.consumer:Consumer"
    app.conf.broker_transport_options["on_poison"] = lambda queue, raw, problem: report(queue, "", raw, problem, "")
