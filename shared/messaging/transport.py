"""kombu's Redis transport, made to survive list entries that are no messages.

As it comes, one entry that is not JSON ends the worker. Here it is handed to `on_poison` of the
transport options, and the next one is read.
"""

import base64
import binascii
import json
from typing import Any

from kombu.transport import redis as kombu_redis

from shared.telemetry.logs import get_logger

log = get_logger(__name__)


class Channel(kombu_redis.Channel):
    """Reads on after an entry that can't be decoded."""

    def _brpop_read(self, **options: Any) -> bool | None:
        try:
            result: bool | None = super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except ValueError as error:
            # JSONDecodeError keeps the text, UnicodeDecodeError the bytes; the queue was rotated to the end
            raw = getattr(error, "doc", None) or getattr(error, "object", None) or str(error)
            queue = str(self._queue_cycle.items[-1])
            self.connection.report_poison(queue, raw.encode() if isinstance(raw, str) else bytes(raw), str(error))
            return True
        return result


class Transport(kombu_redis.Transport):
    """Delivers messages, and reports the rest."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        problem = _problem(message)
        if problem:
            self.report_poison(queue, json.dumps(message).encode(), problem)
        else:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]

    def report_poison(self, queue: str, raw: bytes, problem: str) -> None:
        """Hands an entry over; one that nobody takes is logged, and gone."""
        assert self.client is not None
        report = self.client.transport_options.get("on_poison")
        log.error("queue held what is no message", queue=queue, size=len(raw), problem=problem)
        if report is not None:
            report(queue, raw, problem)


def _problem(message: Any) -> str:
    """Why kombu would stumble over a decoded entry; empty when it would not."""
    if not isinstance(message, dict):
        return f"a JSON {type(message).__name__}, not a message"
    properties, body = message.get("properties"), message.get("body")
    if not isinstance(properties, dict) or "delivery_tag" not in properties:
        return "no delivery tag"
    if not isinstance(properties.get("delivery_info"), dict):
        return "no delivery info"
    if not {"exchange", "routing_key"} <= set(properties["delivery_info"]):
        return "no routing key"
    if not isinstance(body, str) or not isinstance(message.get("headers"), dict):
        return "no body or headers"
    if properties.get("body_encoding") == "base64":
        try:
            base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            return "the body is not base64"
    return ""
