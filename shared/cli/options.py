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
Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of the pipeline.")]
PipelineOption = Annotated[str, typer.Option("--pipeline", "-p", help="Name of the pipeline.")]
OfPipeline = Annotated[str, typer.Option("--pipeline", "-p", help="Of this pipeline only.")]
SealedVersion = Annotated[int, typer.Option("--version", help="Dataset version; the newest sealed one when absent.")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")]


def settings_of(home: Path | None) -> "Settings":
    from shared.config import load_settings

    return load_settings(**({"home": home} if home else {}))


def connect(home: Path | None, *, timeout: float = 30.0) -> "FlywheelClient":
    from shared.client import FlywheelClient

    overrides: dict[str, object] = {"home": home} if home else {}
    return FlywheelClient.from_environment(timeout=timeout, patience=CLI_PATIENCE_SECONDS, **overrides)
