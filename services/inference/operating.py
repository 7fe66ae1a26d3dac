"""What operators do with this server."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.inference.answering.generating import Generating
from services.inference.answering.holding import Models
from services.inference.answering.requests import ModelRef
from services.inference.audit import Audit
from services.inference.deployments.deployment import DeploymentView
from services.inference.deployments.following import Follower
from services.inference.deployments.registry import Registry
from services.inference.deployments.sharing import TrafficTable
from services.inference.engine.interface import Load
from services.inference.models.lineage import CHAMPION, Key
from services.inference.models.traffic import Traffic, check_traffic
from shared.errors import InvalidArgument, NotFound

WATCH_SECONDS = 0.5


@dataclass(frozen=True)
class ServerLoad:
    """All versions together (the fullest cache and the oldest wait count), and each of them."""

    total: Load
    versions: Sequence[tuple[Key, Load]]
    memory_bytes: int
    memory_limit_bytes: int


class Operating:
    """`on_drain` is told once this server takes no new requests."""

    def __init__(
        self,
        registry: Registry,
        follower: Follower,
        models: Models,
        table: TrafficTable,
        generating: Generating,
        audit: Audit,
        on_drain: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._follower = follower
        self._models = models
        self._table = table
        self._generating = generating
        self._audit = audit
        self._on_drain = on_drain

    def deployments(self) -> list[DeploymentView]:
        return self._registry.views()

    def load_model(self, ref: ModelRef, pinned: bool, deadline: float) -> DeploymentView:
        """Loads a version beside the others and waits until it answers."""
        key = self._models.load(ref, deadline)
        self._registry.pin(key, pinned)
        self._audit.record("load_model", key.model, version=key.version, pinned=pinned)
        return self._seen(ref, self._registry.state(key))

    def unload_model(self, ref: ModelRef) -> DeploymentView:
        """Raises FailedPrecondition while an alias or traffic names the version, NotFound when it is not loaded."""
        key = self._models.key_of(ref)
        self._seen(ref, self._registry.state(key))
        gone = self._registry.unload(key)
        self._audit.record("unload_model", key.model, version=key.version)
        return gone

    def set_traffic(self, wanted: Traffic) -> tuple[Traffic, list[int]]:
        """Shares a model's requests; returns what holds now, and the versions in it that do not answer here yet.

        Raises NotFound for an unknown model, InvalidArgument for an unknown version or a share out of range.
        """
        self._check_model(wanted.model)
        snapshot = self._follower.look()
        champion = snapshot.aliases.get((wanted.model, CHAMPION)) if snapshot else None
        check_traffic(wanted, self._follower.versions(wanted.model), champion.version if champion else None)
        shares, shadows = ({str(one.version): one.share for one in kind} for kind in (wanted.shares, wanted.shadows))

        def note(session: Session) -> None:
            self._audit.note(session, "set_traffic", wanted.model, shares=shares, shadows=shadows)

        return self._with_absent(self._table.write(wanted, note))

    def traffic(self, model: str) -> tuple[Traffic, list[int]]:
        """How a model's requests are shared; also the versions that do not answer here. Raises NotFound."""
        self._check_model(model)
        snapshot = self._follower.look()
        return self._with_absent(snapshot.traffic.get(model, Traffic(model)) if snapshot else Traffic(model))

    def load(self) -> ServerLoad:
        found = [(key, served.load()) for key, served in self._registry.served()]
        loads = [one for _, one in found]
        total = Load(
            running=sum(one.running for one in loads),
            waiting=sum(one.waiting for one in loads),
            waiting_tokens=sum(one.waiting_tokens for one in loads),
            cache_used=max((one.cache_used for one in loads), default=0.0),
            oldest_wait_seconds=max((one.oldest_wait_seconds for one in loads), default=0.0),
        )
        return ServerLoad(total, found, self._registry.memory_bytes(), self._follower.memory_limit)

    def abort(self, request_id: str) -> bool:
        """Ends a request of any method; False when it does not run here."""
        found = self._generating.abort(request_id) | self._models.running.abort(request_id)
        if found:
            self._audit.record("abort", request_id)
        return found

    def drain(self) -> int:
        """Refuses new requests; returns how many still run."""
        self._models.refuse()
        self._on_drain()
        self._audit.record("drain", self._audit.server)
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

    def _check_model(self, model: str) -> None:
        if not model:
            raise InvalidArgument("model is empty", field="model")
        self._models.check_known(model)

    def _with_absent(self, traffic: Traffic) -> tuple[Traffic, list[int]]:
        absent = [one for one in sorted(traffic.versions) if not self._registry.answers(Key(traffic.model, one))]
        return traffic, absent

    def _seen(self, ref: ModelRef, found: DeploymentView | None) -> DeploymentView:
        if found is None:
            raise NotFound(f"{ref.name} is not loaded here", model=ref.name)
        return found
