"""host:port, checked."""

from shared.errors import InvalidArgument


def parse_address(address: str, field: str) -> tuple[str, int]:
    """Splits `host:port`. Raises InvalidArgument naming the setting or field."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f"{field}={address!r} must be host:port, such as 127.0.0.1:50051", field=field)
    return host, int(port)
