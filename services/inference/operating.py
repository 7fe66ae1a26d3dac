"""What operators do with this server."""

from collections.abc import Callable, Iterator

from services.inference.answering.generating import Generating
from services.inference.answering.holding import Models
from services.inference.answering.requests import ModelRef
from services.inference.deployments.deployment import DeploymentView
from services.inference.deployments.registry import Registry
from services.inference.engine.interface import Load
from services.inference.models.lineage import Key
from shared.errors import NotFound

WATCH_SECONDS = 0.5


class Operating:
    """`on_drain` is told once this server takes no new requests."""

    def __init__(
        self, registry: Registry, models: Models, generating: Generating, on_drain: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._models = models
        self._generating = generating
        self._on_drain = on_drain

    def deployments(self) -> list[DeploymentView]:
        return self._registry.views()

    def load_model(self, ref: ModelRef, deadline: float) -> DeploymentView:
        """Loads a version beside the others and waits until it answers."""
        return self._seen(ref, self._registry.state(self._models.load(ref, deadline)))

    def unload_model(self, ref: ModelRef) -> DeploymentView:
        """Raises FailedPrecondition while an alias points at the version, NotFound when it is not loaded."""
        key = self._models.key_of(ref)
        self._seen(ref, self._registry.state(key))
        return self._registry.unload(key)

    def load(self) -> Load:
        """All versions together; the fullest cache and the oldest wait count."""
        found = [served.load() for _, served in self._registry.served()]
        return Load(
            running=sum(one.running for one in found),
            waiting=sum(one.waiting for one in found),
            waiting_tokens=sum(one.waiting_tokens for one in found),
            cache_used=max((one.cache_used for one in found), default=0.0),
            oldest_wait_seconds=max((one.oldest_wait_seconds for one in found), default=0.0),
        )

    def abort(self, request_id: str) -> bool:
        return self._generating.abort(request_id)

    def drain(self) -> int:
        """Refuses new requests; returns how many still run."""
        self._models.refuse()
        self._on_drain()
        return self._registry.wait_idle(0)

    def watch(self, active: Callable[[], bool]) -> Iterator[DeploymentView]:
        """All deployments, then each that changes, while `active`."""
        shown: dict[Key, DeploymentView] = {}
        revision = -1
        while active():
            revision = self._registry.wait_for_change(revision, WATCH_SECONDS)
            current = {one.key: one for one in self._registry.views()}
            for key, one in current.items():
                if shown.get(key) != one:
                    yield one
            for key in shown.keys() - current.keys():
                yield shown[key].gone()
            shown = dict(current)

    def _seen(self, ref: ModelRef, found: DeploymentView | None) -> DeploymentView:
        if found is None:
            raise NotFound(f"{ref.name} is not loaded here", model=ref.name)
        return found
