"""Who answers for a host: names to addresses, and whose certificates count."""

import socket
import ssl
from collections.abc import Callable, Sequence

from shared.errors import InvalidArgument, Unavailable

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port -> addresses as text."""


def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the machine's resolver says. Raises Unavailable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"{host} has no address: {error.strerror or error}", retry_seconds=5) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def trusted_context(authorities: str) -> ssl.SSLContext:
    """Checks certificates and names; by the machine's authorities when no PEM file is given. Raises InvalidArgument."""
    try:
        context = ssl.create_default_context(cafile=authorities or None)
    except OSError as error:
        message = f"FLYWHEEL_IMPORT_CA={authorities!r} can't be read: {error}"
        raise InvalidArgument(message, field="FLYWHEEL_IMPORT_CA") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
