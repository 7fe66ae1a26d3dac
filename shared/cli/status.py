"""`flywheel status`: what runs, what waits, what serves."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from shared.cli.options import AsJson, Home, connect, settings_of
from shared.cli.output import clock_time, console, print_json, table

if TYPE_CHECKING:
    from shared.client.operations import FleetStatus
    from shared.config import Settings

UNREACHABLE = 3
HEALTH_SECONDS = 2.0


def status(home: Home = None, as_json: AsJson = False) -> None:
    """Show services, queues and pipelines."""
    from shared.errors import Unavailable

    settings = settings_of(home)
    services = find_services(settings)
    fleet, problem = None, ""
    try:
        with connect(home, timeout=5) as client:
            fleet = client.status()
    except Unavailable as error:
        problem = error.message
    ready = bool(services) and fleet is not None and all(service["ready"] for service in services.values())
    if as_json:
        print_json({"ready": ready, "home": str(settings.home), "services": services, **_fleet(fleet)})
    else:
        _show(ready, settings, services, fleet)
    if problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(UNREACHABLE)


def find_services(settings: "Settings") -> dict[str, dict[str, Any]]:
    """Services of the platform in home, or those whose addresses are set, with their health."""
    from shared.embedded.state import PlatformState
    from shared.rpc.probe import is_serving
    from shared.rpc.security import Security

    found: dict[str, dict[str, Any]] = {}
    state = PlatformState.read(settings.home)
    if state:
        found = {name: asdict(service) for name, service in state.services.items()}
    for name in ("ingestion", "inference", "control"):
        if address := getattr(settings, f"{name}_address"):
            found[name] = {"metrics": None, "pid": None, **found.get(name, {}), "address": address, "ready": True}
    for service in found.values():
        if service["address"]:
            service["ready"] = is_serving(service["address"], HEALTH_SECONDS, Security.of(settings))
        elif service["pid"]:
            service["ready"] = service["ready"] and _alive(service["pid"])
    return found


def _fleet(fleet: "FleetStatus | None") -> dict[str, Any]:
    if fleet is None:
        return {"queues": {}, "pipelines": {}}
    pipelines = {
        pipeline.name: {
            **asdict(pipeline),
            "champion": pipeline.champion or None,
            "candidate": pipeline.candidate or None,
        }
        for pipeline in fleet.pipelines
    }
    return {
        "queues": fleet.queues,
        "pipelines": pipelines,
        "dead_letters": fleet.dead_letters,
        "broker_ready": fleet.broker_ready,
        "leader": fleet.leader,
        "training_workers": list(fleet.training_workers),
    }


def _show(ready: bool, settings: "Settings", services: dict[str, dict[str, Any]], fleet: "FleetStatus | None") -> None:
    console().print(f"{'[bold green]ready[/]' if ready else '[bold red]not ready[/]'} · {settings.home}\n")
    rows = [
        (name, "ready" if one["ready"] else "down", one["address"] or "worker", str(one["pid"] or "–"), one["metrics"])
        for name, one in services.items()
    ]
    console().print(table(("service", "state", "address", "pid#", "metrics"), rows))
    if fleet is None:
        return
    waiting = ", ".join(f"{queue} {depth}" for queue, depth in sorted(fleet.queues.items())) or "none"
    broker = "answers" if fleet.broker_ready else "[red]does not answer[/]"
    console().print(f"\nqueues: {waiting} · broker {broker} · dead letters {fleet.dead_letters}\n")
    _show_workers(fleet)
    pipelines = [
        (
            one.name,
            one.kind,
            one.state,
            version(one.champion),
            version(one.candidate),
            one.rows,
            one.dataset_version,
            one.held_batches,
        )
        for one in fleet.pipelines
    ]
    columns = ("pipeline", "kind", "state", "champion", "candidate", "rows#", "dataset version#", "held batches#")
    console().print(table(columns, pipelines) if pipelines else "no pipeline yet: flywheel apply FILE")


def _show_workers(fleet: "FleetStatus") -> None:
    """Who takes jobs, and when each was last heard."""
    rows = [(one.name, one.device, one.job, clock_time(one.last_heard), one.revision) for one in fleet.training_workers]
    columns = ("training worker", "device", "job", "heard at", "revision")
    console().print(table(columns, rows) if rows else "no training worker has been heard lately")
    console().print()


def version(number: int) -> str:
    return f"v{number}" if number else "–"


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))
