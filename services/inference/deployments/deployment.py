"""One model version on this server, from loading to unloaded."""

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.inference.kinds.base import Served
from services.inference.models.lineage import Key, Lineage, VersionRecord
from services.inference.models.traffic import Traffic


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
    pinned: bool = False
    """An operator wants it kept whatever else needs the memory."""
    healthy: bool = True
    """False while its engine is being restarted."""
    exhausted: bool = False
    """It failed for want of memory."""

    @property
    def key(self) -> Key:
        return self.record.key

    @property
    def answers(self) -> bool:
        return self.state in (State.READY, State.WARM)

    @property
    def memory_bytes(self) -> int:
        return self.served.memory_bytes if self.served is not None else 0


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
    pinned: bool = False
    healthy: bool = True
    exhausted: bool = False
    share: float = 0.0
    """Of the champion's requests; 0 while it does not answer."""
    shadow_share: float = 0.0
    memory_bytes: int = field(default=0, compare=False)
    in_flight: int = field(default=0, compare=False)

    @property
    def answers(self) -> bool:
        return self.state in (State.READY, State.WARM)

    def gone(self) -> "DeploymentView":
        """The same, unloaded."""
        return replace(self, state=State.UNLOADED, aliases=())


def view(deployment: Deployment, traffic: Traffic | None = None) -> DeploymentView:
    version = deployment.key.version
    return DeploymentView(
        key=deployment.key,
        aliases=tuple(sorted(deployment.aliases)),
        state=deployment.state,
        error=deployment.error,
        swap_seconds=deployment.swap_seconds,
        ready_at=deployment.ready_at,
        lineage=deployment.lineage,
        pinned=deployment.pinned,
        healthy=deployment.healthy,
        exhausted=deployment.exhausted,
        share=traffic.share_of(version) if traffic and deployment.answers else 0.0,
        shadow_share=traffic.shadow_share_of(version) if traffic and deployment.answers else 0.0,
        memory_bytes=deployment.memory_bytes,
        in_flight=deployment.in_flight,
    )
