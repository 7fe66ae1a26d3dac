"""The body of a Celery message is an encoded Envelope, and nothing around it.

Decoding here never fails: a body that is no Envelope reaches the task, which makes it a dead letter.
"""

from typing import Any

from kombu.serialization import register

from shared.contracts.codec import CONTENT_TYPE

SERIALIZER = "flywheel-protobuf"

CeleryBody = tuple[tuple[bytes], dict[str, Any], dict[str, Any]]


def pack(body: CeleryBody) -> bytes:
    """Celery's (args, kwargs, embedded options) -> the one argument, an encoded Envelope."""
    (envelope,), _, _ = body
    return envelope


def unpack(data: bytes | str | memoryview) -> CeleryBody:
    """The other way round."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)
    return (raw,), {}, {}


def register_serializer() -> None:
    """Makes it known to kombu; once is enough, more do no harm."""
    register(SERIALIZER, pack, unpack, content_type=CONTENT_TYPE, content_encoding="binary")
