"""Envelope <-> bytes, strict on the way in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from shared.contracts.messages import Envelope
from shared.contracts.routes import ROUTES, Route
from shared.errors import InvalidArgument

M = TypeVar("M", bound=Message)

SCHEMA_REVISION = 1
CONTENT_TYPE = "application/x-protobuf"


@dataclass(frozen=True)
class Delivery:
    """A decoded message with what the envelope says about it."""

    message_id: str
    route: Route
    message: Message
    trace_context: Mapping[str, str]
    created_at: datetime


def encode(
    route: Route,
    message: Message,
    message_id: str,
    created_at: datetime,
    trace_context: Mapping[str, str] | None = None,
) -> bytes:
    """Packs a message of the route's type; anything else is our own mistake."""
    assert isinstance(message, route.message), f"{route.task} carries {route.type_name}"
    envelope = Envelope(
        schema_revision=SCHEMA_REVISION,
        message_id=message_id,
        type_name=route.type_name,
        payload=message.SerializeToString(deterministic=True),
        trace_context=dict(trace_context or {}),
    )
    envelope.created_at.FromDatetime(created_at)
    return bytes(envelope.SerializeToString(deterministic=True))


def decode(task: str, data: bytes) -> Delivery:
    """Unpacks an envelope that arrived for a Celery task.

    Raises InvalidArgument when the task is unknown, the bytes are no envelope, the revision is not ours,
    the type is not the route's, or the payload can't be read.
    """
    route = ROUTES.get(task)
    if route is None:
        raise InvalidArgument(f"no route for the Celery task {task!r}", task=task)
    envelope = _parse(Envelope(), data, "envelope")
    if envelope.schema_revision != SCHEMA_REVISION:
        raise InvalidArgument(f"envelope revision {envelope.schema_revision}, this worker reads {SCHEMA_REVISION}")
    if envelope.type_name != route.type_name:
        raise InvalidArgument(f"{task} carries {route.type_name}, not {envelope.type_name!r}")
    message = _parse(route.message(), envelope.payload, envelope.type_name)
    created_at = envelope.created_at.ToDatetime(tzinfo=UTC)
    return Delivery(envelope.message_id, route, message, dict(envelope.trace_context), created_at)


def _parse(message: M, data: bytes, what: str) -> M:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise InvalidArgument(f"{what} of {len(data)} bytes can't be decoded: {error}") from None
    return message
