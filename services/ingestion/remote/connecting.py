"""Connections to the very address that was checked.

A name is resolved once a connection. All of its addresses have to be allowed, and the socket goes to one of those: a
second resolution, which could answer otherwise (DNS rebinding), never happens. Proxies of the environment are not used.
"""

import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpcore

from services.ingestion.remote.addresses import Network, may_reach
from services.ingestion.remote.resolving import Resolver
from shared.errors import PermissionDenied

CONNECT_SECONDS = 5.0


class Backend(httpcore.NetworkBackend):
    """Opens the sockets of one request; `within` bounds its whole time, whatever the other side does."""

    def __init__(self, resolve: Resolver, allowed: Sequence[Network]) -> None:
        self._resolve, self._allowed = resolve, allowed
        self._inner = httpcore.SyncBackend()
        self._handles: list[socket.socket] = []
        self.ended = False
        """Whether the time ran out."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises PermissionDenied unless every address of the host may be reached."""
        if self.ended:
            raise httpcore.ConnectTimeout("no time is left")
        trouble: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in self._checked(host, port):
            try:
                stream = self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
                continue
            self._handles.append(stream.get_extra_info("socket").dup())
            return stream
        raise trouble or httpcore.ConnectError(f"{host} has no address")

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Ends what was connected after so long."""
        timer = threading.Timer(seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            for handle in self._handles:
                handle.close()

    def _checked(self, host: str, port: int) -> Sequence[str]:
        addresses = self._resolve(host, port)
        refused = [address for address in addresses if not may_reach(address, self._allowed)]
        if refused:
            raise PermissionDenied(
                f"{host} is at {refused[0]}, which is not public; FLYWHEEL_IMPORT_NETWORKS may allow it", field="uri"
            )
        return addresses

    def _end(self) -> None:
        self.ended = True
        for handle in self._handles:
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
