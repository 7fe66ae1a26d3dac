"""Builds gRPC servers: who gets in, limits, error mapping, health and reflection, the same for every service."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.errors import Unavailable
from shared.rpc.addresses import parse_address
from shared.rpc.certificates import ServerCertificates
from shared.rpc.guard import Guard
from shared.rpc.keys import KeyRing
from shared.rpc.limits import DEFAULT, Limits
from shared.rpc.security import OPEN, Security
from shared.rpc.watchdog import Watchdog
from shared.telemetry.logs import get_logger

SPARE_THREADS = 32
"""Beyond the calls that are answered: for health, reflection and refusals."""
LOOPBACK = ("127.", "localhost", "[::1]", "unix:")
log = get_logger(__name__)


class Server:
    """A gRPC server with health and reflection. `address` is known once it is built."""

    def __init__(self, listen: str, *, threads: int = 16, security: Security = OPEN, limits: Limits = DEFAULT) -> None:
        """`threads` is how many calls it answers at once; one more is refused with RESOURCE_EXHAUSTED.

        Raises InvalidArgument when the address, a certificate or a key is wrong, Unavailable when the port is in use.
        """
        host, _ = parse_address(listen, "FLYWHEEL_LISTEN")
        keys = KeyRing(security) if security.wants_keys else None
        self._watchdog = Watchdog()
        self._longest: dict[str, float] = {}
        guard = Guard(keys, threads, self._watchdog, limits.call, self._longest)
        most = threads + SPARE_THREADS
        self.grpc = grpc.server(
            ThreadPoolExecutor(most, thread_name_prefix="grpc"),
            interceptors=[guard],
            options=limits.server_options(most),
            maximum_concurrent_rpcs=most,
        )
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.grpc)
        self._services = [health.SERVICE_NAME, reflection.SERVICE_NAME]
        self.address = f"{host}:{self._bind(listen, security)}"
        if keys and not security.serves_tls and not host.startswith(LOOPBACK):
            log.warning("API keys travel in clear text: set FLYWHEEL_TLS_CERT and FLYWHEEL_TLS_KEY", listen=listen)

    def add(
        self,
        service: str,
        register: Callable[[Any, grpc.Server], None],
        servicer: object,
        longest: float | None = None,
    ) -> None:
        """Adds a servicer by its full protobuf name and the generated `add_…_to_server`.

        No call of it lasts more than `longest` seconds, nor more than the server's own limit.
        """
        register(servicer, self.grpc)
        self._services.append(service)
        if longest is not None:
            self._longest[service] = longest

    def start(self) -> None:
        reflection.enable_server_reflection(self._services, self.grpc)
        self._watchdog.start()
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
        self._watchdog.stop()

    def _bind(self, listen: str, security: Security) -> int:
        """The port. Raises Unavailable."""
        credentials = ServerCertificates(security).credentials() if security.serves_tls else None
        try:
            if credentials is None:
                return self.grpc.add_insecure_port(listen)
            return self.grpc.add_secure_port(listen, credentials)
        except RuntimeError:
            raise Unavailable(
                f"FLYWHEEL_LISTEN={listen}: the port is in use; choose another, or 0", listen=listen
            ) from None
