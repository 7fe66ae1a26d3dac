"""What the health service says: of each model, and of this server as a whole."""

import threading
from collections.abc import Callable

from services.inference.deployments.deployment import DeploymentView
from services.inference.deployments.registry import Registry


class Health:
    """`show` tells the health service: serving or not, and of which names; of the server and its services with none."""

    def __init__(self, registry: Registry, service: str, show: Callable[..., None]) -> None:
        self._registry = registry
        self._service = service
        self._show = show
        self._lock = threading.Lock()
        self._draining = False
        self._whole = True

    def changed(self, seen: DeploymentView) -> None:
        """A model is SERVING while its champion can answer; the server unless no champion can."""
        model = seen.key.model
        with self._lock:
            if self._draining:
                return
            self._show(self._registry.healthy(model), f"{self._service}/{model}")
            champions = self._registry.champions()
            whole = not champions or any(self._registry.healthy(one) for one in champions)
            if whole != self._whole:
                self._whole = whole
                self._show(whole)

    def drain(self) -> None:
        """NOT_SERVING from now on, whatever happens to the models."""
        with self._lock:
            self._draining = True
            self._show(False)
            for model in self._registry.champions():
                self._show(False, f"{self._service}/{model}")
