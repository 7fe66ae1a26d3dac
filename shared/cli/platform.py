"""`flywheel up` and `flywheel down`: the platform on this machine."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import Home, settings_of
from shared.cli.output import console

if TYPE_CHECKING:
    from shared.embedded.state import PlatformState

Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready; `down` stops it.")]


def up(home: Home = None, detach: Detach = False) -> None:
    """Start the platform here: an embedded queue and the five services. Ctrl-C stops it."""
    settings = settings_of(home)
    if detach:
        from shared.embedded import detached

        show_ready(start_with_progress(lambda progress: detached.start(settings, progress)))
        console().print("stop it with [bold]flywheel down[/]")
    else:
        from shared.embedded.manager import Manager

        Manager(settings, echo=sys.stderr).run(on_ready=show_ready)


def down(home: Home = None) -> None:
    """Stop the platform and wait until it is gone."""
    from shared.embedded import detached

    settings = settings_of(home)
    stopped = detached.stop(settings)
    console().print(f"stopped: {settings.home}" if stopped else f"nothing runs on {settings.home}")


def start_with_progress(start: "StartFunction") -> "PlatformState":
    """Shows which services are ready while they come up."""
    with console().status("starting the platform") as waiting:

        def progress(state: "PlatformState") -> None:
            ready = [name for name, service in state.services.items() if service.ready]
            waiting.update(f"starting the platform: {len(ready)} of {len(state.services)} services ready")

        return start(progress)


def show_ready(state: "PlatformState") -> None:
    """Where everything is."""
    console().print(f"[bold green]ready[/] · {state.home}")
    for name, service in state.services.items():
        address = service.address or "worker"
        console().print(f"  {name:<11} {address:<17} [dim]{service.metrics}[/]")


if TYPE_CHECKING:
    from collections.abc import Callable

    StartFunction = Callable[[Callable[[PlatformState], None]], PlatformState]
