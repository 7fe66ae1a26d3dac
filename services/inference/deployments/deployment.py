"""One model version on this server, from loading to unloaded."""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.inference.kinds.base import Served
from services.inference.models.lineage import Key, Lineage, VersionRecord


class State(StrEnum):
    """As in shared.storage.states.DEPLOYMENT_STATES."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    WARM = "warm"
    FAILED = "failed"
    UNLOADED = "unloaded"


@dataclass(eq=False)
class Deployment:
    """Changed only by the registry, under its lock."""

    record: VersionRecord
    state: State = State.LOADING
    lineage: Lineage = field(default_factory=lambda: Lineage("", 0))
    served: Served | None = None
    aliases: set[str] = field(default_factory=set)
    error: str = ""
    failures: int = 0
    retry_at: float = 0.0
    swap_seconds: float | None = None
    ready_at: datetime | None = None
    in_flight: int = 0
    last_used: float = field(default_factory=time.monotonic)
    on_demand: bool = False
    """Asked for by a request or an operator, not by an alias."""

    @property
    def key(self) -> Key:
        return self.record.key

    @property
    def answers(self) -> bool:
        return self.state in (State.READY, State.WARM)


@dataclass(frozen=True)
class DeploymentView:
    """A deployment as others may see it: immutable."""

    key: Key
    aliases: tuple[str, ...]
    state: State
    error: str
    swap_seconds: float | None
    ready_at: datetime | None
    lineage: Lineage

    def gone(self) -> "DeploymentView":
        """The same, unloaded."""
        return replace(self, state=State.UNLOADED, aliases=())


def view(deployment: Deployment) -> DeploymentView:
    return DeploymentView(
        key=deployment.key,
        aliases=tuple(sorted(deployment.aliases)),
        state=deployment.state,
        error=deployment.error,
        swap_seconds=deployment.swap_seconds,
        ready_at=deployment.ready_at,
        lineage=deployment.lineage,
    )
