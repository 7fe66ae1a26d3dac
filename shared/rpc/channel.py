"""Builds client channels: keepalive, limits and retries that match the servers."""

import json

import grpc

from shared.rpc.addresses import parse_address
from shared.rpc.server import KEEPALIVE_MILLISECONDS, MAX_MESSAGE_BYTES

RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def open_channel(address: str, *, field: str = "address", retries: bool = True) -> grpc.Channel:
    """A channel to `host:port`. It connects on its own, and again after the server was away.

    With `retries`, a call that the server can't have answered (UNAVAILABLE) is tried four times.
    Raises InvalidArgument when the address is malformed.
    """
    parse_address(address, field)
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_retries", int(retries)),
    ]
    if retries:
        options.append(("grpc.service_config", json.dumps(RETRIES)))
    return grpc.insecure_channel(address, options=options)
