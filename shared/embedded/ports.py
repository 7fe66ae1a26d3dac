"""Ports for the parts of a platform, chosen once, so that an address survives a restart of its process."""

import random
import socket

from shared.errors import FailedPrecondition
from shared.rpc.addresses import parse_address

RANGE = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that none is taken while its owner restarts."""


def is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError:
            return False
    return True


class Ports:
    """Gives out free loopback ports, none of them twice."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def free(self) -> str:
        """A free `127.0.0.1:port`."""
        for port in random.SystemRandom().sample(RANGE, k=200):
            if port not in self._given and is_free("127.0.0.1", port):
                self._given.add(port)
                return f"127.0.0.1:{port}"
        raise FailedPrecondition(f"no free port between {RANGE.start} and {RANGE.stop} on 127.0.0.1")

    def given(self, address: str, setting: str) -> str:
        """The address that a person set, or a free one when it is empty or its port is 0.

        Raises FailedPrecondition naming the setting when the port is in use.
        """
        if not address:
            return self.free()
        host, port = parse_address(address, setting)
        if port == 0:
            return self.free()
        if not is_free(host, port):
            raise FailedPrecondition(f"{setting}={address}: the port is in use; free it, or choose another")
        self._given.add(port)
        return address
