"""A worker process's main loop: Celery's worker, in threads, that drains on SIGTERM."""

import logging
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from celery.app import trace
from celery.apps.worker import Worker as CeleryWorker
from celery.worker import state as celery_state

from shared.config import Settings
from shared.contracts.routes import ROUTES, Route
from shared.messaging.app import build_app
from shared.messaging.consumer import on_unhandled
from shared.messaging.handler import Handler
from shared.messaging.handling import Handling
from shared.messaging.task import register_tasks
from shared.storage.database import Database
from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class Worker:
    """Consumes queues until asked to drain.

    `draining` is set as soon as the process gets SIGTERM or SIGINT (or `stop` is called): no new message
    is taken, those being handled are waited for. A second signal, or the end of the grace time, ends the
    process at once; its messages come back through the broker or the outbox.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        handlers: Mapping[Route, Handler],
        queues: Sequence[str],
        concurrency: int = 1,
    ) -> None:
        mine = [route for route in ROUTES.values() if set(route.queues) & set(queues)]
        assert mine, f"no route leads to {', '.join(queues)}"
        assert set(mine) <= set(handlers), f"a route of {', '.join(queues)} has no handler"
        self.draining = threading.Event()
        self.ready = threading.Event()
        self._settings, self._queues, self._concurrency = settings, list(queues), concurrency
        self._handling = Handling(settings, database, handlers, self.draining)
        self._celery: _EmbeddedWorker | None = None
        self._app = build_app(settings)
        on_unhandled(self._app, self._handling.give_up)
        register_tasks(self._app, mine, self._handling)

    def run(self) -> None:
        """Blocks until drained. A broker that is away is waited for."""
        for name in ("celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(name).setLevel(logging.WARNING)  # every message would be logged three times
        celery_state.should_stop = celery_state.should_terminate = None
        before = self._catch_signals()
        self._handling.claims.start()
        try:
            while not self.draining.is_set():
                self._consume()
                if not self.draining.wait(1):
                    log.error("the worker ended by itself and is started again")
        finally:
            self._handling.claims.stop()
            self._app.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Asks it to drain, from any thread."""
        self.draining.set()
        celery_state.should_stop = os.EX_OK
        if self._celery is not None and self._celery.hub is not None:
            self._celery.hub.call_soon(lambda: None)  # it may be waiting for the broker

    def _consume(self) -> None:
        self._celery = _EmbeddedWorker(
            app=self._app,
            queues=self._queues,
            concurrency=self._concurrency,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            ready=self.ready,
        )
        self._celery.start()

    def _catch_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        return {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.draining.is_set():
            os._exit(128 + number)
        self.stop()
        timer = threading.Timer(self._settings.grace_seconds, os._exit, [1])
        timer.daemon = True
        timer.start()


class _EmbeddedWorker(CeleryWorker):  # type: ignore[misc]
    """Celery's worker program without its banner, its logging and its signals."""

    def on_before_init(self, *, ready: threading.Event, **options: Any) -> None:
        self._ready = ready
        self.quiet = True
        trace.setup_worker_optimizations(self.app, self.hostname)

    def on_init_blueprint(self) -> None:
        self._custom_logging = True
        trace.setup_worker_optimizations(self.app, self.hostname)

    def install_platform_tweaks(self, worker: object) -> None:
        """Signals are `Worker`'s."""

    def set_process_status(self, info: str) -> None:
        """The process keeps its name."""

    def on_consumer_ready(self, consumer: object) -> None:
        log.info("worker ready", queues=sorted(self.app.amqp.queues.consume_from))
        self._ready.set()
