"""`flywheel models`, `promote`, `rollback`."""

from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Home, Limit, ModelArgument, connect
from shared.cli.output import console, print_json, table
from shared.cli.status import version as shown

if TYPE_CHECKING:
    from shared.client.operations import AliasMove, ModelVersion

AnyModel = Annotated[str, typer.Argument(metavar="[MODEL]", help="Its versions; all models when absent.")]
VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Model version.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]
History = Annotated[bool, typer.Option("--history", help="Show who was champion when.")]


def models(
    model: AnyModel = "", history: History = False, limit: Limit = 20, home: Home = None, as_json: AsJson = False
) -> None:
    """List models with their aliases, or the versions of one."""
    if history and not model:
        raise typer.BadParameter("--history needs a MODEL")
    with connect(home) as client:
        if history:
            moves = client.alias_moves(model, limit)
            return print_json(moves) if as_json else _show_moves(moves)
        if model:
            versions = client.model_versions(model, limit)
            return print_json(versions) if as_json else _show_versions(versions)
        found = client.models()
    if as_json:
        return print_json(found)
    columns = ("model", "champion", "candidate", "newest")
    rows = [
        (
            one.name,
            shown(one.aliases.get("champion", 0)),
            shown(one.aliases.get("candidate", 0)),
            shown(one.newest_version),
        )
        for one in found
    ]
    return console().print(table(columns, rows))


def promote(model: ModelArgument, version: VersionArgument, reason: Reason = "", home: Home = None) -> None:
    """Make a version champion; refused unless its verdict is pass."""
    with connect(home) as client:
        move = client.promote(model, version, reason)
    console().print(f"{move.model}: champion {shown(move.from_version)} -> {shown(move.to_version)}")


def rollback(model: ModelArgument, reason: Reason = "", home: Home = None) -> None:
    """Make the champion before this one champion again."""
    with connect(home) as client:
        move = client.rollback(model, reason)
    console().print(f"{move.model}: champion {shown(move.from_version)} -> {shown(move.to_version)}")


def _show_moves(moves: list["AliasMove"]) -> None:
    columns = ("when", "alias", "from", "to", "by", "why")
    rows = [
        (move.created_at, move.alias, shown(move.from_version), shown(move.to_version), move.actor, move.reason)
        for move in moves
    ]
    console().print(table(columns, rows))


def _show_versions(versions: list["ModelVersion"]) -> None:
    columns = ("version", "state", "method", "data#", "scores", "job", "made", "why refused")
    rows = [
        (
            shown(one.version),
            one.state,
            one.method,
            one.dataset_version,
            _scores(one.metrics),
            one.job,
            one.created_at,
            "; ".join(one.reasons),
        )
        for one in versions
    ]
    console().print(table(columns, rows))


def _scores(metrics: dict[str, float]) -> str:
    return " ".join(f"{name}={value:.4f}" for name, value in metrics.items())
