"""A channel that shows an API key, and takes new certificates when their files change."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from shared.errors import InvalidArgument
from shared.rpc import files
from shared.rpc.security import Security
from shared.telemetry.logs import get_logger

LOOK_SECONDS = 1.0
"""Between two looks at the files."""
Metadata = tuple[tuple[str, str | bytes], ...]
log = get_logger(__name__)


class SecuredChannel(grpc.Channel):
    """Thread-safe. Calls that run when the certificates change end on the connection that they began on.

    gRPC's own interceptors would add the key as well, but take every call through a future.
    """

    def __init__(self, connect: Callable[[], grpc.Channel], security: Security) -> None:
        self._connect = connect
        self._paths = [path for path in (security.certificate, security.key, security.authority) if path]
        self._key: Metadata = (("authorization", f"Bearer {security.api_key}"),) if security.api_key else ()
        self._stamp = files.stamp(*self._paths)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._lock = threading.Lock()
        self._channel = connect()

    def current(self) -> grpc.Channel:
        """The channel for the next call."""
        if self._paths and time.monotonic() >= self._look_at:
            with self._lock:
                self._look()
        return self._channel

    def with_key(self, metadata: Any) -> Any:
        return (*(metadata or ()), *self._key) if self._key else metadata

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        return _Method(self, "unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        return _Method(self, "unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return _Method(self, "stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return _Method(self, "stream_stream", method, options)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self) -> None:
        self._look_at = time.monotonic() + LOOK_SECONDS
        seen = files.stamp(*self._paths)
        if seen == self._stamp:
            return
        self._stamp = seen
        try:
            self._channel = self._connect()
        except InvalidArgument as error:
            log.error("new certificates refused, the old ones stay", reason=error.message)


class _Method:
    """A multi-callable of whichever channel is current."""

    def __init__(self, channel: SecuredChannel, kind: str, method: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._channel, self._kind, self._method, self._options = channel, kind, method, options
        self._made: tuple[grpc.Channel | None, Any] = (None, None)

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._now()(request, timeout=timeout, metadata=self._channel.with_key(metadata), **options)

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._now().with_call(request, timeout=timeout, metadata=self._channel.with_key(metadata), **options)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
        return self._now().future(request, timeout=timeout, metadata=self._channel.with_key(metadata), **options)

    def _now(self) -> Any:
        channel, made = self._made
        current = self._channel.current()
        if channel is not current:
            made = getattr(current, self._kind)(*self._method, **self._options)
            self._made = (current, made)
        return made
