"""Handing messages to the broker, over one connection that is kept open."""

import threading
from collections.abc import Sequence
from typing import Any

from shared.config import Settings
from shared.errors import Unavailable
from shared.messaging.app import build_app
from shared.messaging.broker import PATIENCE_SECONDS, TROUBLE
from shared.messaging.celery_settings import impatient
from shared.storage.outbox import Parcel


class Sender:
    """One connection; a broken one is opened anew at the next send. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._app = settings, build_app(settings)
        self._lock = threading.Lock()
        self._connection: Any = None
        self._producer: Any = None

    def send(self, parcels: Sequence[Parcel]) -> None:
        """Sends in order. Raises Unavailable within seconds when the broker is away; some may have gone out."""
        with self._lock:
            try:
                if self._producer is None:
                    self._connection = self._connect()
                    self._producer = self._app.amqp.Producer(self._connection.default_channel, auto_declare=False)
                for parcel in parcels:
                    self._send_one(parcel)
            except TROUBLE as error:
                self._close()
                raise Unavailable(f"the broker does not answer: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._close()
            self._app.close()

    def _connect(self) -> Any:
        return self._app.connection_for_write(transport_options=impatient(self._settings, PATIENCE_SECONDS))

    def _send_one(self, parcel: Parcel) -> None:
        self._app.send_task(
            parcel.task,
            args=(parcel.payload,),
            task_id=parcel.id,
            queue=parcel.queue,
            producer=self._producer,
            declare=[],
            retry=False,
            ignore_result=True,
            argsrepr="",
            kwargsrepr="",
        )

    def _close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()
