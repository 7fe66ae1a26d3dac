"""Where the demo plays: a fresh folder, and a platform on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.cli.output import console
from shared.cli.platform import show_ready, start_with_progress
from shared.client import FlywheelClient
from shared.embedded import detached
from shared.embedded.lock import HomeLock
from shared.errors import FailedPrecondition

if TYPE_CHECKING:
    from shared.config import Settings

PIPELINES = ("sentiment", "support")


@contextmanager
def platform_for(settings: "Settings", *, keep: bool, fresh: bool) -> Iterator[None]:
    """A running platform without the demo's pipelines. One that was up before is left up."""
    started = HomeLock(settings.home).holder() is None
    if fresh and not started:
        raise FailedPrecondition(f"a platform runs on {settings.home}: `flywheel down` before a demo with --fresh")
    if started:
        if fresh:
            _move_aside(settings)
        show_ready(start_with_progress(lambda progress: detached.start(settings, progress)))
    try:
        _refuse_a_second_telling(settings)
        yield
    finally:
        if started and not keep:
            with console().status("stopping the platform"):
                detached.stop(settings)
            console().print("\nthe platform is stopped; start it again with [bold]flywheel up[/]")
        else:
            console().print("\nthe platform is up; try [bold]flywheel status[/], stop it with [bold]flywheel down[/]")


def _refuse_a_second_telling(settings: "Settings") -> None:
    with FlywheelClient.from_environment(home=settings.home) as client:
        there = sorted({pipeline.name for pipeline in client.pipelines()} & set(PIPELINES))
    if there:
        raise FailedPrecondition(
            f"{settings.home} already has pipeline {there[0]}; tell the story on a new folder with --home, "
            "or move this one aside with --fresh (after `flywheel down`)"
        )


def _move_aside(settings: "Settings") -> None:
    """Into home/earlier; the cache of converted base models belongs to no telling and stays."""
    home = settings.home
    if not (home / "flywheel.db").exists():
        return
    aside = home / "earlier" / time.strftime("%Y%m%d-%H%M%S")
    aside.mkdir(parents=True)
    for entry in home.iterdir():
        if entry.name not in ("cache", "earlier"):
            entry.rename(aside / entry.name)
    console().print(f"the earlier platform's files are now in {aside}")
