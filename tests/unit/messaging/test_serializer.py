"""The body on the wire is the Envelope's bytes."""

from kombu.serialization import dumps, loads

from shared.contracts.codec import CONTENT_TYPE
from shared.messaging.serializer import SERIALIZER, register_serializer

ACCEPT = {CONTENT_TYPE}


def test_the_envelope_goes_through_kombu_unchanged() -> None:
    register_serializer()
    envelope = bytes(range(256))
    content_type, encoding, data = dumps(((envelope,), {}, {"chain": None}), serializer=SERIALIZER)
    assert (content_type, encoding, data) == ("application/x-protobuf", "binary", envelope)
    assert loads(data, content_type, encoding, accept=ACCEPT) == ((envelope,), {}, {})


def test_bytes_that_are_no_envelope_reach_the_task_too() -> None:
    register_serializer()
    assert loads(b"\xff", "application/x-protobuf", "binary", accept=ACCEPT) == ((b"\xff",), {}, {})
