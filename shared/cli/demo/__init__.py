"""`flywheel demo`: the whole loop on real models and real data, told in the terminal."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import Home, settings_of
from shared.cli.output import console

if TYPE_CHECKING:
    from shared.config import Settings

Keep = Annotated[bool, typer.Option("--keep/--stop", help="Leave the platform up, or stop it if the demo started it.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Move an earlier platform's files to HOME/earlier first.")]


def demo(home: Home = None, keep: Keep = False, fresh: Fresh = False) -> None:
    """Tell the whole story: rows, training, judging, swapping, refusing, correcting, lineage."""
    from shared.cli.demo.setting import platform_for

    settings = settings_of(home)
    with platform_for(settings, keep=keep, fresh=fresh):
        _tell(settings)


def _tell(settings: "Settings") -> None:
    from shared.cli.demo.following import DemoFailed
    from shared.cli.demo.page import write_demo_page
    from shared.cli.demo.record import Record
    from shared.cli.demo.story import Story
    from shared.cli.demo.summary import show_summary
    from shared.client import FlywheelClient
    from shared.errors import FlywheelError

    record = Record(settings.home)
    try:
        with (
            FlywheelClient.from_environment(home=settings.home, timeout=60) as client,
            FlywheelClient.from_environment(home=settings.home, patience=0) as product,
        ):
            Story(client, product, record).tell()
    except FlywheelError as error:
        raise DemoFailed(f"the demo stopped in {error.message}; logs are in {settings.home / 'logs'}") from None
    finally:
        record.seconds = time.monotonic() - record.began
        path: Path = record.write()
    page = write_demo_page(record)
    console().print("\n[bold]7 · Summary[/]")
    show_summary(record)
    console().print(f"\n  {path}\n  {page}")
