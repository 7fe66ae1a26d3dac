"""Moving champion forward and back. The gate is a precondition of the move itself."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import audit
from shared.errors import FailedPrecondition, GateNotPassed, InvalidArgument
from shared.storage.repositories import models, pipelines
from shared.storage.repositories.models import CANDIDATE, CHAMPION
from shared.storage.tables import AliasMove, ModelVersion, Report

TO_CANDIDATE = ("trained", "evaluated", "blessed", "candidate")


def promote(session: Session, model: str, version: int, actor: str, reason: str) -> AliasMove:
    """Makes a version champion; the present champion gets the move that made it so.

    Raises NotFound, or GateNotPassed with the gate's reasons unless the newest verdict is pass.
    """
    pipelines.lock(session, model)
    row = models.get_version(session, model, version)
    require_pass(row, models.newest_report(session, model, row.version))
    if models.alias(session, model, CHAMPION) == row.version:
        return models.moves(session, model, 1, alias=CHAMPION)[0]
    champion = _champion(session, model)
    if row.state in TO_CANDIDATE:
        advance(session, row, "candidate")
    models.move_version(session, row, "champion")
    if champion is not None:
        models.move_version(session, champion, "superseded")
    if models.alias(session, model, CANDIDATE) == row.version:
        models.move_alias(session, model, CANDIDATE, None, "promotion", actor, f"version {row.version} is champion")
    return models.move_alias(session, model, CHAMPION, row.version, "promotion", actor, reason)


def promote_by_hand(session: Session, model: str, version: int, reason: str) -> AliasMove:
    """An operator's promotion, under the same gate. Raises what `promote` raises, and InvalidArgument."""
    if version < 1:
        raise InvalidArgument(f"version={version}: name the version to promote, from 1", field="version")
    move = promote(session, model, version, audit.actor(), reason)
    audit.record(session, "promote", model, version=version, reason=reason)
    return move


def rollback(session: Session, model: str, reason: str) -> AliasMove:
    """An operator's way back: the champion before this one is champion again, further back each time.

    Raises FailedPrecondition when there is nothing to go back to.
    """
    pipelines.lock(session, model)
    line = succession(session, model)
    if len(line) < 2:
        have = f"version {line[0]} is its first champion" if line else "it has no champion"
        raise FailedPrecondition(f"model {model!r} has nothing to go back to: {have}", model=model)
    present, before = (models.get_version(session, model, version) for version in (line[-1], line[-2]))
    models.move_version(session, present, "rolled_back")
    models.move_version(session, before, "champion")
    audit.record(session, "rollback", model, version=before.version, reason=reason)
    return models.move_alias(session, model, CHAMPION, before.version, "rollback", audit.actor(), reason)


def nominate(session: Session, row: ModelVersion, actor: str, reason: str) -> AliasMove:
    """Points `candidate` at a blessed version; the one it pointed at before stays blessed."""
    displaced = models.alias(session, row.model, CANDIDATE)
    if displaced is not None and displaced != row.version:
        models.move_version(session, models.get_version(session, row.model, displaced), "blessed")
    advance(session, row, "candidate")
    return models.move_alias(session, row.model, CANDIDATE, row.version, "candidate", actor, reason)


def require_pass(row: ModelVersion, report: Report | None) -> None:
    """Raises GateNotPassed, with the reasons, unless the report's verdict is pass."""
    what = f"{row.model} version {row.version}"
    if report is None:
        raise GateNotPassed(f"{what} has not been judged", model=row.model, version=row.version)
    if report.verdict != "pass":
        why = "; ".join(failed_rules(report)) or "its report gives no reason"
        raise GateNotPassed(
            f"{what} did not pass its gate: {why}", model=row.model, version=row.version, report=report.id
        )


def failed_rules(report: Report) -> list[str]:
    """What the gate held against the version, in words."""
    return [str(rule["message"]) for rule in report.reasons if not rule["passed"]]


def advance(session: Session, row: ModelVersion, to: str) -> None:
    """Takes a judged version through the states that lie between, up to `to`."""
    path: Sequence[str] = TO_CANDIDATE if to != "refused" else ("trained", "evaluated", "refused")
    if row.state in path:
        for state in path[path.index(row.state) + 1 : path.index(to) + 1]:
            models.move_version(session, row, state)


def succession(session: Session, model: str) -> list[int]:
    """Champions that a rollback can go through, the present one last."""
    query = select(AliasMove).where(AliasMove.model == model, AliasMove.alias == CHAMPION).order_by(AliasMove.id)
    line: list[int] = []
    for move in session.scalars(query):
        if move.kind == "rollback":
            line.pop()
        elif move.to_version is not None:
            line.append(move.to_version)
    return line


def _champion(session: Session, model: str) -> ModelVersion | None:
    version = models.alias(session, model, CHAMPION)
    return models.get_version(session, model, version) if version else None
