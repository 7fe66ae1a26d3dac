"""What an embedded platform consists of: commands, addresses, threads."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import shared
from shared.config import SPIN, Settings, child_environment
from shared.embedded.child import ChildPlan
from shared.embedded.orphans import MARK
from shared.embedded.ports import Ports
from shared.embedded.valkey import EmbeddedValkey

SERVICES = ("ingestion", "finetuning", "evaluation", "inference", "control")
WITH_GRPC = ("ingestion", "inference", "control")
TRAINING_NICENESS = 5
"""Training yields to inference, so that answers stay quick while a model is trained."""


@dataclass(frozen=True)
class PlatformPlan:
    """Everything to start, in order, with the addresses fixed for the life of the platform."""

    home: Path
    broker: str
    """host:port of the queue's server."""
    addresses: dict[str, str | None]
    metrics: dict[str, str]
    queue: tuple[ChildPlan, ...]
    """Started first and stopped last."""
    services: tuple[ChildPlan, ...]


def make_plan(settings: Settings) -> PlatformPlan:
    """Chooses ports and writes the embedded queue's files.

    Raises FailedPrecondition when a configured port is in use or no Valkey can be found.
    """
    ports = Ports()
    addresses = {name: _address(settings, ports, name) for name in SERVICES}
    metrics = {name: ports.free() for name in SERVICES}
    valkey = None if settings.broker_url else EmbeddedValkey(settings.home, ports.free())
    queue = []
    if valkey:
        marked = {**child_environment(), MARK: str(settings.home)}
        queue.append(ChildPlan("valkey", valkey.prepare(), marked, probe=valkey.ping))
    services = [
        ChildPlan(
            name,
            [sys.executable, "-P", "-m", f"services.{name}"],
            _environment(settings, valkey, name, addresses, metrics[name]),
            niceness=TRAINING_NICENESS if name == "finetuning" else 0,
        )
        for name in SERVICES
    ]
    broker = valkey.address if valkey else urlsplit(settings.broker_url).netloc.rpartition("@")[2]
    return PlatformPlan(settings.home, broker, addresses, metrics, tuple(queue), tuple(services))


def threads_for(service: str, cores: int) -> int:
    """Torch threads: training gets every core; inference and evaluation a share that leaves room for it.

    Two pools that together outnumber the cores can slow a step tenfold when both spin at their barriers for long,
    hence also SPIN; see shared.config.spin_briefly.
    """
    return {"finetuning": cores, "inference": max(1, cores // 2), "evaluation": cores}.get(service, 1)


def _address(settings: Settings, ports: Ports, name: str) -> str | None:
    if name not in WITH_GRPC:
        return None
    return ports.given(getattr(settings, f"{name}_address"), f"FLYWHEEL_{name.upper()}_ADDRESS")


def _environment(
    settings: Settings,
    valkey: EmbeddedValkey | None,
    name: str,
    addresses: dict[str, str | None],
    metrics: str,
) -> dict[str, str]:
    threads = settings.threads or threads_for(name, os.cpu_count() or 1)
    known = {f"{service}_address": address for service, address in addresses.items() if address}
    environment = child_environment(
        home=settings.home,
        broker_url_file=valkey.url_file if valkey else None,
        listen=addresses[name] or "127.0.0.1:0",
        metrics_listen=metrics,
        threads=threads,
        log_format="json",
        **known,
    )
    root = str(Path(shared.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    environment["PYTHONUNBUFFERED"] = "1"
    environment["OMP_NUM_THREADS"] = str(threads)
    environment |= SPIN
    environment[MARK] = str(settings.home)
    return environment
