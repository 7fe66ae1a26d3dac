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
    """Keeps the cache of converted base models, which belongs to no telling."""
    home = settings.home
    if not (home / "flywheel.db").exists():
        return
    aside = home.with_name(f"{home.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    home.rename(aside)
    if (aside / "cache").is_dir():
        home.mkdir()
        (aside / "cache").rename(home / "cache")
    console().print(f"the earlier platform's folder is now {aside}")
