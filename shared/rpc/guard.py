"""What every call passes before its servicer: who calls, is there room, and how errors leave."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from structlog.contextvars import bind_contextvars

from shared.errors import FlywheelError, InvalidArgument, ResourceExhausted, Unauthenticated
from shared.rpc import callers
from shared.rpc.access import Rule, check_message, check_role, rule_of
from shared.rpc.callers import ANYONE, Caller, Role
from shared.rpc.keys import KeyRing
from shared.rpc.status import abort
from shared.rpc.watchdog import Watchdog
from shared.telemetry import metrics
from shared.telemetry.logs import get_logger

BUSY_SECONDS = 0.5
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


class Guard(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """One interceptor for all of it: each of its own would wrap every call once more.

    In order: key, role, a place in the server, the tenant's quota, the watchdog, then the request's model and priority.
    """

    def __init__(
        self, keys: KeyRing | None, places: Places, watchdog: Watchdog, longest: float, by_service: Mapping[str, float]
    ) -> None:
        """`longest` is how many seconds a call lasts at most; `by_service` where a service has its own limit."""
        self._keys, self.places, self.watchdog = keys, places, watchdog
        self._longest, self._by_service = longest, by_service
        self._rules: dict[str, Rule] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        call = details.method
        rule = self._rules.get(call) or self._rules.setdefault(call, rule_of(call))
        caller = ANYONE
        if self._keys is not None and rule.role is not None:
            try:
                caller = _identify(self._keys, details.invocation_metadata)
                check_role(caller, rule, call)
            except FlywheelError as error:
                return _refusal(error)
        callers.current.set(caller)
        if caller.tenant:
            bind_contextvars(tenant=caller.tenant)  # for the log; gRPC gives each call a context of its own
        return _wrapped(handler, _Passage(self, call, rule, caller))

    def seconds_for(self, call: str) -> float:
        return min(self._by_service.get(call[1:].partition("/")[0], self._longest), self._longest)


class _Passage:
    """One call on its way through."""

    def __init__(self, guard: Guard, call: str, rule: Rule, caller: Caller) -> None:
        self._guard, self._call, self._rule, self._caller = guard, call, rule, caller
        self._limits_messages = caller.is_limited
        self._has_place = self._has_quota = self._is_watched = False

    def enter(self, context: grpc.ServicerContext) -> None:
        """Raises ResourceExhausted."""
        guard, quota = self._guard, self._caller.quota
        if self._rule.role is None:
            return
        guard.places.take()
        self._has_place = True
        if quota is not None:
            try:
                quota.enter()
            except ResourceExhausted:
                if self._rule.role is Role.CALL:
                    metrics.INFERENCE_REJECTED.labels("quota").inc()
                raise
            self._has_quota = True
        self._is_watched = guard.watchdog.watch(context, guard.seconds_for(self._call))

    def leave(self, context: grpc.ServicerContext) -> None:
        if self._is_watched:
            self._guard.watchdog.release(context)
        if self._has_quota and self._caller.quota is not None:
            self._caller.quota.leave()
        if self._has_place:
            self._guard.places.leave()

    def checked(self, request: Any, is_stream: bool) -> Any:
        """The request, or its messages, as the servicer gets them.

        Raises InvalidArgument where it is no protobuf, and PermissionDenied; a stream does when it is read.
        """
        return map(self._check, request) if is_stream else self._check(request)

    def fail(self, context: grpc.ServicerContext, error: Exception) -> None:
        if isinstance(error, FlywheelError):
            abort(context, error)
        # context.abort raises a bare Exception of its own
        if getattr(context, "code", lambda: None)() is not None or not str(error):
            raise error
        log.exception("call failed", call=self._call)
        name = self._call.rsplit("/", 1)[-1]
        abort(context, FlywheelError(f"{name} failed inside the server; its log has the cause"))

    def _check(self, message: Any) -> Any:
        if message is MALFORMED:
            raise InvalidArgument(
                f"the request of {self._call} is not a message of its type, or holds text that is no UTF-8"
            )
        if self._limits_messages:
            check_message(self._caller, self._rule, message)
        return message


def _wrapped(handler: Any, passage: _Passage) -> Any:
    """The same kind of handler, around the same behaviour."""
    takes_stream, gives_stream = handler.request_streaming, handler.response_streaming
    kind = f"{'stream' if takes_stream else 'unary'}_{'stream' if gives_stream else 'unary'}"
    behaviour = getattr(handler, kind)

    def respond(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            passage.enter(context)
            return behaviour(passage.checked(request, takes_stream), context)
        except Exception as error:
            return passage.fail(context, error)
        finally:
            passage.leave(context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            passage.enter(context)
            yield from behaviour(passage.checked(request, takes_stream), context)
        except Exception as error:
            passage.fail(context, error)
        finally:
            passage.leave(context)

    made = stream if gives_stream else respond
    if hasattr(behaviour, "experimental_non_blocking"):  # health's Watch, which holds no thread
        return handler
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(made, _decoder(handler.request_deserializer), handler.response_serializer)


def _decoder(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """gRPC would answer INTERNAL, with a traceback in our log for each message that a client has got wrong."""

    def decoded(data: bytes) -> Any:
        assert decode is not None
        try:
            return decode(data)
        except DecodeError:
            return MALFORMED

    return decoded if decode else None


def _identify(keys: KeyRing, metadata: Any) -> Caller:
    """Raises Unauthenticated."""
    shown = ""
    for name, value in metadata or ():
        if name == "authorization":
            scheme, _, shown = str(value).partition(" ")
            if scheme.lower() != "bearer":
                raise Unauthenticated("the metadata authorization must be `Bearer KEY`")
        elif name == "x-api-key" and not shown:
            shown = str(value)
    if not shown:
        raise Unauthenticated("this server wants an API key: set FLYWHEEL_API_KEY, or send `authorization: Bearer KEY`")
    caller = keys.find(shown.strip())
    if caller is None:
        raise Unauthenticated("this server does not know the API key")
    return caller


def _refusal(error: FlywheelError) -> Any:
    """A handler that does not wait for a request: a refused client must not keep a thread by sending none."""

    def refuse(_: Iterator[bytes], context: grpc.ServicerContext) -> None:
        abort(context, error)

    return grpc.stream_unary_rpc_method_handler(refuse)
