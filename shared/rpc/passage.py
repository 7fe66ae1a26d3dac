"""One call on its way to its servicer and back."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from shared.errors import FlywheelError, InvalidArgument, ResourceExhausted
from shared.rpc.access import Rule, check_message
from shared.rpc.callers import Caller, Role
from shared.rpc.status import abort
from shared.rpc.watchdog import Watchdog
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

BUSY_SECONDS = 0.5
REQUEST_SECONDS = 10.0
"""A client that calls has to send its one request within this."""
MALFORMED = object()
"""In the place of a message that could not be decoded."""
log = get_logger(__name__)


class Places:
    """Calls that a server answers at once. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Raises ResourceExhausted: a call never waits unseen for a thread."""
        with self._lock:
            if self._taken >= self._most:
                raise ResourceExhausted(
                    f"this server answers {self._most} calls at once, and has them", BUSY_SECONDS, limit=self._most
                )
            self._taken += 1

    def leave(self) -> None:
        with self._lock:
            self._taken -= 1


class Passage:
    """`longest` is how many seconds the call may last."""

    def __init__(
        self, call: str, rule: Rule, caller: Caller, places: Places, watchdog: Watchdog, longest: float
    ) -> None:
        self.call = call
        self._rule, self._caller = rule, caller
        self._places, self._watchdog, self._longest = places, watchdog, longest
        self._limits_messages = caller.is_limited
        self._has_place = self._has_quota = self._is_watched = False

    def enter(self, context: grpc.ServicerContext, takes_stream: bool) -> None:
        """Raises ResourceExhausted."""
        try:
            self._places.take()
            self._has_place = True
            if self._caller.quota is not None:
                self._caller.quota.enter()
                self._has_quota = True
        except ResourceExhausted:
            if self._rule.role is Role.CALL:
                metrics.INFERENCE_REJECTED.labels("quota" if self._has_place else "places").inc()
            raise
        self._watch(context, self._longest if takes_stream else min(REQUEST_SECONDS, self._longest))

    def leave(self, context: grpc.ServicerContext) -> None:
        if self._is_watched:
            self._watchdog.release(context)
        if self._has_quota and self._caller.quota is not None:
            self._caller.quota.leave()
        if self._has_place:
            self._places.leave()

    def only(self, messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
        """The one request. Raises InvalidArgument when there is none, or no protobuf, and PermissionDenied."""
        for message in messages:
            self._watch(context, self._longest)
            return self.check(message)
        raise InvalidArgument(f"the call of {self.call} carries no request")

    def check(self, message: Any) -> Any:
        if message is MALFORMED:
            raise InvalidArgument(
                f"the request of {self.call} is not a message of its type, or holds text that is no UTF-8"
            )
        if self._limits_messages:
            check_message(self._caller, self._rule, message)
        return message

    def fail(self, context: grpc.ServicerContext, error: Exception) -> None:
        """Turns our errors into status with details, and anything else into INTERNAL without its text."""
        if isinstance(error, FlywheelError):
            abort(context, error)
        # context.abort raises a bare Exception of its own, and a client that is gone a bare RpcError
        if getattr(context, "code", lambda: None)() is not None or not str(error):
            raise error
        log.exception("call failed", call=self.call)
        name = self.call.rsplit("/", 1)[-1]
        abort(context, FlywheelError(f"{name} failed inside the server; its log has the cause"))

    def _watch(self, context: grpc.ServicerContext, seconds: float) -> None:
        if self._watchdog.watch(context, seconds):
            self._is_watched = True
        elif self._is_watched:
            self._watchdog.release(context)
            self._is_watched = False


def guarded(handler: Any, passage: Passage) -> Any:
    """A handler around the same behaviour.

    Every one takes a stream: gRPC runs a unary method only once its request is there, so that a client could keep a
    thread, before any of this has run, by sending none.
    """
    takes_stream, gives_stream = handler.request_streaming, handler.response_streaming
    behaviour = getattr(handler, f"{'stream' if takes_stream else 'unary'}_{'stream' if gives_stream else 'unary'}")
    if hasattr(behaviour, "experimental_non_blocking"):  # health's Watch, which holds no thread
        return handler

    def asked(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
        passage.enter(context, takes_stream)
        return map(passage.check, messages) if takes_stream else passage.only(messages, context)

    def respond(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(asked(messages, context), context)
        except Exception as error:
            return passage.fail(context, error)
        finally:
            passage.leave(context)

    def stream(messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(asked(messages, context), context)
        except Exception as error:
            passage.fail(context, error)
        finally:
            passage.leave(context)

    decode, encode = _decoder(handler.request_deserializer), handler.response_serializer
    if gives_stream:
        return grpc.stream_stream_rpc_method_handler(stream, decode, encode)
    return grpc.stream_unary_rpc_method_handler(respond, decode, encode)


def refused(error: FlywheelError) -> Any:
    """A handler that only says so."""

    def refuse(_: Iterator[bytes], context: grpc.ServicerContext) -> None:
        abort(context, error)

    return grpc.stream_unary_rpc_method_handler(refuse)


def _decoder(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """gRPC would answer INTERNAL, with a traceback in our log for each message that a client has got wrong."""

    def decoded(data: bytes) -> Any:
        assert decode is not None
        try:
            return decode(data)
        except DecodeError:
            return MALFORMED

    return decoded if decode else None
