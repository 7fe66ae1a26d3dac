"""Jobs of sort `verify`: a version is trained again as its lineage says, and the bytes of the weights are compared."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from services.finetuning.spec import TrainingSpec
from shared.modeling.card import ModelCard
from shared.storage.database import Database
from shared.storage.repositories import models
from shared.storage.tables import Job, ModelVersion, Run


@dataclass(frozen=True)
class Verdict:
    """What a verification found; `digest` names the digest that was compared, `notes` what was not as it had been."""

    verdict: str
    """`identical` or `differs`."""
    digest: str
    wanted: str
    found: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        if self.verdict == "identical":
            said = f"identical: {self.digest} {self.wanted}"
        else:
            said = f"differs: {self.digest} {self.wanted}, retrained {self.found}"
        return "; ".join((said, *self.notes))


def repeated(session: Session, job: Job) -> ModelVersion | None:
    """The version that a job trains again; None for a job of another sort. Raises NotFound."""
    if job.sort != "verify":
        return None
    assert job.verifies is not None
    return models.get_version(session, job.pipeline, job.verifies)


def as_before(spec: TrainingSpec, version: ModelVersion) -> TrainingSpec:
    """The spec with the base, threads and arithmetic that made the version, as far as they were recorded."""
    before = version.conditions
    method = spec.method.model_copy(update={"precision": before.get("precision", spec.method.precision)})
    threads = before.get("threads", spec.threads)
    return replace(spec, base_digest=version.base_digest, method=method, threads=threads)


def conclude(database: Database, attempt: Attempt, card: ModelCard) -> Job | None:
    """Ends the job with its verdict; None when it was cancelled at the last moment. Raises LeaseLost."""

    def record(session: Session, job: Job) -> str:
        version = models.get_version(session, job.pipeline, job.verifies or 0)
        runs = session.get(Run, version.run), session.get_one(Run, attempt.run)
        verdict = compare(version, card, _revisions(*runs))
        job.outcome = asdict(verdict) | {"notes": list(verdict.notes)}
        return str(verdict)

    return attempts.conclude(database, attempt, record)


def compare(version: ModelVersion, card: ModelCard, revisions: tuple[str, str] = ("", "")) -> Verdict:
    """The retrained model against the version: its adapter where it has one, else all its weights."""
    digest = "adapter_digest" if version.adapter_digest else "weights_digest"
    wanted, found = getattr(version, digest), getattr(card, digest)
    notes = tuple(_changes(version.conditions, card.conditions, revisions))
    return Verdict("identical" if wanted == found else "differs", digest, wanted, found, notes)


def _changes(before: dict[str, Any], now: dict[str, Any], revisions: tuple[str, str]) -> list[str]:
    """What was not as it had been when the version was made, in words."""
    if not before:
        return ["threads, precision, libraries and processor of the original run were not recorded"]
    then, today = _flat(before), _flat(now)
    changed = [f"{key} was {then[key]}, here {today.get(key)}" for key in then if then[key] != today.get(key)]
    earlier, later = revisions
    if earlier and later and earlier != later:
        changed.append(f"code revision was {earlier[:12]}, here {later[:12]}")
    return changed


def _flat(conditions: dict[str, Any]) -> dict[str, Any]:
    libraries: dict[str, Any] = conditions.get("libraries", {})
    return {key: value for key, value in conditions.items() if key != "libraries"} | libraries


def _revisions(original: Run | None, mine: Run) -> tuple[str, str]:
    return (original.revision if original else "", mine.revision)
