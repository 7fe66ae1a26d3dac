"""Builds gRPC servers: limits, keepalive, error mapping, health and reflection, the same for every service."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.errors import FlywheelError, Unavailable
from shared.rpc.addresses import parse_address
from shared.rpc.status import abort
from shared.telemetry.logs import get_logger

MAX_MESSAGE_BYTES = 4 << 20
KEEPALIVE_MILLISECONDS = 30_000

SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MILLISECONDS // 2),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
)
log = get_logger(__name__)


class ErrorInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Turns our errors into status with details, and anything else into INTERNAL without its text."""

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None:
            return None
        call = details.method
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            behaviour = _streaming(handler.stream_stream or handler.unary_stream, call)
        else:
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            behaviour = _unary(handler.stream_unary or handler.unary_unary, call)
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _unary(behaviour: Callable[..., Any], call: str) -> Callable[..., Any]:
    def respond(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(request, context)
        except FlywheelError as error:
            return abort(context, error)
        except Exception as error:
            return _internal(context, call, error)

    return respond


def _streaming(behaviour: Callable[..., Iterator[Any]], call: str) -> Callable[..., Iterator[Any]]:
    def respond(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(request, context)
        except FlywheelError as error:
            abort(context, error)
        except Exception as error:
            _internal(context, call, error)

    return respond


def _internal(context: grpc.ServicerContext, call: str, error: Exception) -> None:
    if getattr(context, "code", lambda: None)() is not None or not str(
        error
    ):  # context.abort raises a bare Exception of its own
        raise error
    log.exception("call failed", call=call)
    abort(context, FlywheelError(f"{call.rsplit('/', 1)[-1]} failed inside the server; its log has the cause"))


class Server:
    """A gRPC server with health and reflection. `address` is known once it is built."""

    def __init__(
        self, listen: str, *, threads: int = 16, interceptors: Sequence["grpc.ServerInterceptor[Any, Any]"] = ()
    ) -> None:
        host, _ = parse_address(listen, "FLYWHEEL_LISTEN")
        pool = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self.grpc = grpc.server(pool, interceptors=[ErrorInterceptor(), *interceptors], options=SERVER_OPTIONS)
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.grpc)
        self._services = [health.SERVICE_NAME, reflection.SERVICE_NAME]
        try:
            port = self.grpc.add_insecure_port(listen)
        except RuntimeError:
            raise Unavailable(
                f"FLYWHEEL_LISTEN={listen}: the port is in use; choose another, or 0", listen=listen
            ) from None
        self.address = f"{host}:{port}"

    def add(self, service: str, register: Callable[[Any, grpc.Server], None], servicer: object) -> None:
        """Adds a servicer by its full protobuf name and the generated `add_…_to_server`."""
        register(servicer, self.grpc)
        self._services.append(service)

    def start(self) -> None:
        reflection.enable_server_reflection(self._services, self.grpc)
        self.grpc.start()
        self.set_serving(True)

    def set_serving(self, serving: bool, *names: str) -> None:
        """Reports health for the given names; for the server and all its services without any."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in names or ("", *self._services):
            self.health.set(name, state)

    def stop(self, grace_seconds: float) -> None:
        """Refuses new calls, lets running ones finish within the grace, then ends them."""
        self.set_serving(False)
        self.grpc.stop(grace_seconds).wait()
