"""Asking the broker itself: is it there, and what waits in its queues."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError
from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError
from redis import RedisError

from shared.config import Settings
from shared.contracts.messages import Envelope
from shared.contracts.routes import QUEUES
from shared.errors import Unavailable
from shared.messaging.celery_settings import TRANSPORT, broker_url, impatient

TROUBLE = (KombuError, OperationalError, RedisError, OSError)
"""What a broker that is away looks like."""
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class QueueStats:
    """What waits in a queue; a message being handled does not."""

    depth: int
    oldest_age_seconds: float


@contextmanager
def redis_client(settings: Settings, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[Any]:
    """A client of the broker, reached the way Celery reaches it. Raises Unavailable."""
    options = impatient(settings, patience_seconds)
    connection = Connection(broker_url(settings), transport=TRANSPORT, transport_options=options)
    try:
        channel: Any = connection.default_channel
        yield channel.client
    except TROUBLE as error:
        raise Unavailable(f"the broker does not answer: {error}") from error
    finally:
        connection.release()


def ping(settings: Settings) -> bool:
    """Whether the broker answers within two seconds."""
    try:
        with redis_client(settings) as client:
            return bool(client.ping())
    except Unavailable:
        return False


def queue_stats(settings: Settings) -> dict[str, QueueStats]:
    """Every queue of the routes. Raises Unavailable."""
    with redis_client(settings) as client:
        now = datetime.now(UTC)
        return {queue: QueueStats(client.llen(queue), _age(client.lindex(queue, -1), now)) for queue in QUEUES}


def _age(entry: bytes | None, now: datetime) -> float:
    if entry is None:
        return 0.0
    try:
        envelope = Envelope.FromString(base64.b64decode(json.loads(entry)["body"]))
    except (ValueError, KeyError, TypeError, DecodeError):
        return 0.0
    return max(0.0, (now - envelope.created_at.ToDatetime(tzinfo=UTC)).total_seconds())
