"""Celery's consumer, with dead letters instead of log lines for what no task takes."""

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.worker.consumer import Consumer as CeleryConsumer

from shared.telemetry.logs import get_logger

Unhandled = Callable[[str, str, bytes, str, str], None]
"""Told queue, Celery task, body, what is wrong, and message id."""
log = get_logger(__name__)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Consumes for an app made by `on_unhandled`."""

    def create_task_handler(self, *args: Any) -> Callable[[Any], None]:
        take = super().create_task_handler(*args)

        def take_or_bury(message: Any) -> None:
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
        message.ack_log_error(log, self.connection_errors)


def _task(message: Any) -> str:
    return str((message.headers or {}).get("task", ""))


def on_unhandled(app: Celery, report: Unhandled) -> None:
    """Has the app's workers use this consumer, and tell `report`."""
    app.unhandled = report
    app.conf.worker_consumer = "shared.messaging.consumer:Consumer"
    app.conf.broker_transport_options["on_poison"] = lambda queue, raw, problem: report(queue, "", raw, problem, "")
