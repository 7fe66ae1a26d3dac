"""home/run/platform.json: who runs and where. Written by the manager, read by clients."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class ServiceState:
    """One service of a running platform."""

    address: str | None
    """host:port of its gRPC server; None for a worker without one."""
    metrics: str
    """URL of its /metrics."""
    ready: bool
    pid: int
    """0 while it is down."""
    restarts: int = 0


@dataclass(frozen=True)
class PlatformState:
    """What the manager says about its platform."""

    home: str
    pid: int
    ready: bool
    broker: str
    """host:port of the queue's server, without its password."""
    services: dict[str, ServiceState] = field(default_factory=dict)

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """The state in `home`, or None when no platform was started there or it was stopped."""
        try:
            found = json.loads(path_in(home).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        services = {name: ServiceState(**state) for name, state in found.pop("services").items()}
        return cls(**found, services=services)

    def write(self) -> None:
        """Replaces the file in one step: a reader sees the old state or the new one."""
        path = path_in(Path(self.home))
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(asdict(self), indent=1))
        aside.replace(path)


def path_in(home: Path) -> Path:
    """Where the state of the platform in `home` lies."""
    return home / "run" / "platform.json"
