"""The client for products, scripts and the command line."""

from types import TracebackType
from typing import Self

from shared.client.connection import Connection
from shared.client.control import ControlCalls
from shared.client.datasets import DatasetCalls
from shared.client.imports import ImportCalls
from shared.client.inference import InferenceCalls
from shared.client.ingestion import IngestionCalls
from shared.client.lives import LifeCalls
from shared.client.serving import ServingCalls
from shared.config import Settings, load_settings
from shared.embedded.state import PlatformState
from shared.rpc.limits import DEFAULT, Limits
from shared.rpc.security import OPEN, Security

TIMEOUT_SECONDS = 30.0
PATIENCE_SECONDS = 10.0


class FlywheelClient(InferenceCalls, ServingCalls, IngestionCalls, DatasetCalls, ImportCalls, LifeCalls, ControlCalls):
    """Talks to a platform; thread-safe, opens its channels on first use.

    Every call has a deadline of `timeout` seconds. Calls that are safe to repeat are repeated for `patience`
    seconds while a service is away, so a restart of the platform is not seen by its products.
    """

    def __init__(
        self,
        *,
        inference: str = "",
        ingestion: str = "",
        control: str = "",
        timeout: float = TIMEOUT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        security: Security = OPEN,
        limits: Limits = DEFAULT,
    ) -> None:
        """Addresses are `host:port`; a service without one can't be called."""
        self._inference = Connection("inference", inference, timeout, patience, security, limits)
        self._ingestion = Connection("ingestion", ingestion, timeout, patience, security, limits)
        self._control = Connection("control", control, timeout, patience, security, limits)

    @classmethod
    def from_environment(
        cls, *, timeout: float = TIMEOUT_SECONDS, patience: float = PATIENCE_SECONDS, **overrides: object
    ) -> Self:
        """Addresses from `FLYWHEEL_<SERVICE>_ADDRESS`, else of the platform in `FLYWHEEL_HOME` (`.flywheel`).

        Certificates from `FLYWHEEL_TLS_…`, the key from `FLYWHEEL_API_KEY`.
        """
        return cls.of(load_settings(**overrides), timeout=timeout, patience=patience)

    @classmethod
    def of(cls, settings: Settings, *, timeout: float = TIMEOUT_SECONDS, patience: float = PATIENCE_SECONDS) -> Self:
        """As `from_environment`, for settings that were read already."""
        state = PlatformState.read(settings.home)
        running = {name: service.address or "" for name, service in state.services.items()} if state else {}
        return cls(
            inference=settings.inference_address or running.get("inference", ""),
            ingestion=settings.ingestion_address or running.get("ingestion", ""),
            control=settings.control_address or running.get("control", ""),
            timeout=timeout,
            patience=patience,
            security=Security.of(settings),
            limits=Limits.of(settings),
        )

    def close(self) -> None:
        for connection in (self._inference, self._ingestion, self._control):
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
