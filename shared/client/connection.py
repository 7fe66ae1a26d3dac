"""One service as a client sees it: a channel opened on first use, deadlines, retries, our errors."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from shared.errors import Unavailable
from shared.rpc.channel import open_channel
from shared.rpc.handshakes import cause
from shared.rpc.limits import DEFAULT, Limits
from shared.rpc.security import OPEN, Security
from shared.rpc.status import from_rpc_error

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


class Connection:
    """Thread-safe. Every call has a deadline; one that is safe to repeat is repeated while the service is away."""

    def __init__(
        self,
        service: str,
        address: str,
        timeout: float,
        patience: float,
        security: Security = OPEN,
        limits: Limits = DEFAULT,
    ) -> None:
        self.service = service
        self.address = address
        self.timeout = timeout
        self.patience = patience
        self._security, self._limits = security, limits
        self._channel: grpc.Channel | None = None
        self._stubs: dict[Callable[[grpc.Channel], Any], Any] = {}
        self._lock = threading.Lock()

    def stub(self, kind: Callable[[grpc.Channel], T]) -> T:
        """The generated stub on this connection's channel."""
        with self._lock:
            if self._channel is None:
                if not self.address:
                    raise Unavailable(
                        f"no address of {self.service}: start a platform with `flywheel up`, "
                        f"or set FLYWHEEL_{self.service.upper()}_ADDRESS"
                    )
                self._channel = open_channel(
                    self.address,
                    field=f"{self.service} address",
                    retries=False,
                    security=self._security,
                    limits=self._limits,
                )
            if kind not in self._stubs:
                self._stubs[kind] = kind(self._channel)
            stub: T = self._stubs[kind]
            return stub

    def call(self, method: Callable[..., Any], request: Any, *, repeatable: bool = True) -> Any:
        """A call with one answer. Raises our errors.

        UNAVAILABLE is tried again for `patience` seconds when the call is `repeatable`.
        """
        return self.attempt(lambda: method(request, timeout=self.timeout), repeatable=repeatable)

    def attempt(self, act: Callable[[], T], *, repeatable: bool = True) -> T:
        """Runs `act`, and again while the service is away."""
        give_up = time.monotonic() + (self.patience if repeatable else 0)
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                with self.errors():
                    return act()
            except Unavailable as error:
                left = give_up - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(pause, left, max(error.retry_seconds, FIRST_PAUSE_SECONDS)))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns a gRPC error into ours; one that is about the connection names the service and its address."""
        try:
            yield
        except grpc.RpcError as error:
            ours = from_rpc_error(error)
            if isinstance(ours, Unavailable) and not ours.metadata and _is_connection(ours.message):
                why = cause(ours.message)
                raise Unavailable(
                    f"{self.service} at {self.address} can't be reached{f': {why}' if why else ''}",
                    ours.retry_seconds,
                    address=self.address,
                ) from None
            raise ours from None

    def close(self) -> None:
        with self._lock:
            if self._channel:
                self._channel.close()
                self._channel = None
                self._stubs.clear()


def _is_connection(message: str) -> bool:
    signs = ("connect", "Socket closed", "recvmsg", "Connection reset", "GOAWAY", "Broken pipe", "sendmsg")
    return any(sign in message for sign in signs)
