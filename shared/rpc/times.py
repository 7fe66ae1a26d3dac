"""Seconds as protobuf has them."""

from google.protobuf.duration_pb2 import Duration


def duration(seconds: float) -> Duration:
    message = Duration()
    message.FromNanoseconds(int(seconds * 1e9))
    return message
