"""Options that many commands share, and the client that they lead to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shared.client import FlywheelClient
    from shared.config import Settings

CLI_PATIENCE_SECONDS = 3.0
"""A person at a terminal wants to know soon that a service is away."""

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the platform (FLYWHEEL_HOME, else .flywheel).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many.")]
PipelineOption = Annotated[str, typer.Option("--pipeline", "-p", help="Name of the pipeline.")]


def settings_of(home: Path | None) -> "Settings":
    from shared.config import load_settings

    return load_settings(**({"home": home} if home else {}))


def connect(home: Path | None, *, timeout: float = 30.0) -> "FlywheelClient":
    from shared.client import FlywheelClient

    overrides: dict[str, object] = {"home": home} if home else {}
    return FlywheelClient.from_environment(timeout=timeout, patience=CLI_PATIENCE_SECONDS, **overrides)
