"""What an evaluation is about, read from the database in one go."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.evaluation.frozen import judging_uri, manifest_uri
from shared.errors import NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.repositories import models
from shared.storage.tables import Job, ModelVersion


@dataclass(frozen=True)
class Case:
    """A candidate, the champion of that moment if there is one, and the rules of the candidate's job."""

    candidate: ModelVersion
    champion: ModelVersion | None
    spec: PipelineSpec
    candidate_manifest: str
    champion_manifest: str | None

    @property
    def champion_version(self) -> int | None:
        return self.champion.version if self.champion else None


def read_case(session: Session, model: str, version: int) -> Case:
    """Raises NotFound."""
    candidate = models.get_version(session, model, version)
    job = session.get(Job, candidate.job)
    if job is None:
        raise NotFound(f"{model} {version} has no job {candidate.job!r}", job=candidate.job)
    number = models.alias(session, model, models.CHAMPION)
    champion = None if number is None else models.get_version(session, model, number)
    return Case(
        candidate,
        champion,
        PipelineSpec.model_validate(job.spec),
        judging_uri(session, candidate),
        manifest_uri(session, champion) if champion else None,
    )
