"""`flywheel deployments`, `load`, `unload`, `traffic`."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.models import VersionArgument
from shared.cli.options import AsJson, Home, ModelArgument, connect
from shared.cli.output import console, print_json, table

if TYPE_CHECKING:
    from shared.client.serving import Traffic

LOAD_SECONDS = 180.0
Pinned = Annotated[bool, typer.Option("--pinned", help="Keep it whatever else needs the memory.")]
Shares = Annotated[
    list[str] | None,
    typer.Option("--share", metavar="VERSION=SHARE", help="Share of the champion's requests; repeat for others."),
]
Shadows = Annotated[
    list[str] | None,
    typer.Option("--shadow", metavar="VERSION=SHARE", help="Copy so many requests to it; nobody gets its answers."),
]
Clear = Annotated[bool, typer.Option("--clear", help="The champion alone, no shadows.")]


def deployments(home: Home = None, as_json: AsJson = False) -> None:
    """Show what the inference server holds."""
    with connect(home) as client:
        found = client.deployments()
    if as_json:
        return print_json(found)
    columns = ("model", "version#", "state", "aliases", "share#", "shadow#", "running#", "MiB#", "pinned", "error")
    rows = [
        (
            one.model,
            one.version or "base",
            one.state if one.healthy else "restarting",
            ", ".join(one.aliases),
            _percent(one.share),
            _percent(one.shadow_share),
            one.in_flight,
            round(one.memory_bytes / 2**20),
            "yes" if one.pinned else "",
            one.error,
        )
        for one in found
    ]
    return console().print(table(columns, rows))


def load(model: ModelArgument, version: VersionArgument, pinned: Pinned = False, home: Home = None) -> None:
    """Load a version beside the others and wait until it answers."""
    with connect(home, timeout=LOAD_SECONDS) as client:
        loaded = client.load_model(model, version, pinned=pinned)
    console().print(f"{model}: version {version} is {loaded.state}{', pinned' if loaded.pinned else ''}")


def unload(model: ModelArgument, version: VersionArgument, home: Home = None) -> None:
    """Free a version that neither an alias nor traffic names."""
    with connect(home) as client:
        gone = client.unload_model(model, version)
    console().print(f"{model}: version {version} is {gone.state}")


def traffic(
    model: ModelArgument,
    share: Shares = None,
    shadow: Shadows = None,
    clear: Clear = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show how a model's requests are shared, or say how; what is not named gets nothing."""
    if clear and (share or shadow):
        raise typer.BadParameter("--clear goes alone")
    shares, shadows = _parsed("--share", share), _parsed("--shadow", shadow)
    with connect(home) as client:
        seen = client.set_traffic(model, shares, shadows) if clear or shares or shadows else client.traffic(model)
    return print_json(seen) if as_json else _show(seen)


def _show(seen: "Traffic") -> None:
    rest = 1 - sum(one.share for one in seen.shares)
    rows: list[tuple[object, ...]] = [("champion", "answers", _percent(rest), "")]
    for role, shares in (("answers", seen.shares), ("shadow", seen.shadows)):
        for one in shares:
            note = "not loaded here yet" if one.version in seen.absent else ""
            rows.append((one.version, role, _percent(one.share), note))
    console().print(table(("version#", "role", "share#", "note"), rows))


def _parsed(option: str, given: list[str] | None) -> dict[int, float]:
    found: dict[int, float] = {}
    for one in given or []:
        version, _, share = one.partition("=")
        try:
            number, value = int(version), float(share)
        except ValueError:
            raise typer.BadParameter(f"{option} {one!r} is not VERSION=SHARE, such as 2=0.1") from None
        if number in found:
            raise typer.BadParameter(f"{option} names version {number} twice")
        found[number] = value
    return found


def _percent(share: float) -> str:
    return f"{share:.1%}" if share > 0 else ""
