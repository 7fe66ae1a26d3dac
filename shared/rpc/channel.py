"""Builds client channels: certificates, API key, keepalive, limits and retries that match the servers."""

import json
from functools import partial

import grpc

from shared.rpc.addresses import parse_address
from shared.rpc.certificates import channel_credentials
from shared.rpc.limits import DEFAULT, Limits, Options
from shared.rpc.secured import SecuredChannel
from shared.rpc.security import OPEN, Security

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


def open_channel(
    address: str,
    *,
    field: str = "address",
    retries: bool = True,
    security: Security = OPEN,
    limits: Limits = DEFAULT,
) -> grpc.Channel:
    """A channel to `host:port`. It connects on its own, and again after the server was away.

    With `retries`, a call that the server can't have answered (UNAVAILABLE) is tried four times.
    Raises InvalidArgument when the address is malformed or a certificate is wrong.
    """
    parse_address(address, field)
    options = [*limits.client_options(), ("grpc.enable_retries", int(retries))]
    if retries:
        options.append(("grpc.service_config", json.dumps(RETRIES)))
    if security.calls_with_tls or security.api_key:
        return SecuredChannel(partial(_connect, address, options, security), security)
    return _connect(address, options, security)


def _connect(address: str, options: Options, security: Security) -> grpc.Channel:
    if security.calls_with_tls:
        return grpc.secure_channel(address, channel_credentials(security), options=options)
    return grpc.insecure_channel(address, options=options)
