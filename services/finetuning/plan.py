"""From a job to the spec of its training process: dataset parts on this machine, base model, threads, device."""

import os
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.finetuning import verification
from services.finetuning.allowance import allowance
from services.finetuning.attempts import Attempt
from services.finetuning.revision import code_revision
from services.finetuning.spec import DatasetInput, DatasetPart, Start, TrainedBefore, TrainingSpec
from services.finetuning.workplace import Workplace
from shared.config import Settings
from shared.errors import FailedPrecondition, InvalidArgument, NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts, base_folder
from shared.storage.database import Database
from shared.storage.datasets import read_manifest
from shared.storage.repositories import models
from shared.storage.tables import DatasetVersion, Job, ModelVersion

KEEP_CHECKPOINTS = 2
NO_CHAMPION = "the model has no champion yet: training starts from the base model"
ALL_NEW = "the model has no champion yet: all rows are new"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def training_spec(
    database: Database, artifacts: Artifacts, settings: Settings, attempt: Attempt, place: Workplace
) -> TrainingSpec:
    """Everything the run needs, fetched to this machine.

    Raises InvalidArgument for a job whose spec can't be read, NotFound or DataCorrupted for a dataset version or
    base that is not what its record says.
    """
    job = attempt.job
    try:
        pipeline = PipelineSpec.model_validate(job.spec)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidArgument(f"the job's {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    with database.read() as session:
        manifest_uri = _manifest_uri(session, job)
        repeated = verification.repeated(session, job)
        base = repeated.base if repeated else models.pinned_base(session, pipeline.base, job.created_at)
        start = _start(session, job, pipeline, repeated)
        before = _trained_before(session, artifacts, job, pipeline, repeated)
    allowed = allowance(job, settings.cost_rate(job.device))
    spec = TrainingSpec(
        run=attempt.run,
        job=job.id,
        pipeline=job.pipeline,
        kind=pipeline.kind,
        base=str(base_folder(base, artifacts) or base),
        base_cache=settings.cache_folder / "bases",
        method=pipeline.method,
        labels=tuple(pipeline.labels) if pipeline.labels else None,
        dataset=_dataset(artifacts, manifest_uri),
        work_dir=place.folder,
        output_dir=place.output,
        seed=pipeline.seed,
        threads=settings.threads or max(1, _processors() // settings.concurrency // pipeline.resources.processes),
        checkpoint_every_seconds=settings.checkpoint_seconds,
        keep_checkpoints=KEEP_CHECKPOINTS,
        device=DEVICES[job.device],
        budget_seconds=allowed.seconds,
        budget_steps=allowed.steps,
        options=pipeline.options,
        start=_fetched(artifacts, start) if start else None,
        notes=_notes(pipeline, start, before, repeated),
        trained_before=before,
        resources=pipeline.resources,
        revision=code_revision(),
        any_revision=job.allow_revision or settings.allow_revisions,
    )
    return verification.as_before(spec, repeated) if repeated else spec


def _start(session: Session, job: Job, pipeline: PipelineSpec, repeated: ModelVersion | None) -> ModelVersion | None:
    """The version that training begins with: the champion when the job was created, or what a version began with."""
    if repeated is not None:
        number = repeated.started_from
    elif pipeline.start == "champion":
        number = models.alias_at(session, job.pipeline, models.CHAMPION, job.created_at)
    else:
        number = None
    return models.get_version(session, job.pipeline, number) if number else None


def _trained_before(
    session: Session, artifacts: Artifacts, job: Job, pipeline: PipelineSpec, repeated: ModelVersion | None
) -> TrainedBefore | None:
    """The dataset version of the champion when the job was created, where only rows that it lacks are learnt; for a
    version that is trained again, when its own job was."""
    if pipeline.method.rows == "all":
        return None
    original = session.get(Job, job.clone_of) if repeated else job
    at = (original or job).created_at
    number = models.alias_at(session, job.pipeline, models.CHAMPION, at)
    if number is None:
        return None
    version = models.get_version(session, job.pipeline, number).dataset_version
    dataset = session.get(DatasetVersion, (job.pipeline, version))
    if dataset is None:
        raise NotFound(f"{job.pipeline} has no dataset version {version}, which its champion was trained on")
    manifest = read_manifest(artifacts, dataset.manifest_uri)
    return TrainedBefore(version, manifest.digest, frozenset(part.digest for part in manifest.parts))


def _notes(
    pipeline: PipelineSpec, start: ModelVersion | None, before: TrainedBefore | None, repeated: ModelVersion | None
) -> tuple[str, ...]:
    notes = [NO_CHAMPION] if pipeline.start == "champion" and not (start or repeated) else []
    return (*notes, ALL_NEW) if pipeline.method.rows == "new" and before is None else tuple(notes)


def _fetched(artifacts: Artifacts, version: ModelVersion) -> Start:
    digest = version.adapter_digest or version.weights_digest
    return Start(version.version, artifacts.fetch_folder(version.weights_uri), digest)


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _manifest_uri(session: Session, job: Job) -> str:
    version = session.get(DatasetVersion, (job.pipeline, job.dataset_version))
    if version is None:
        raise NotFound(f"{job.pipeline} has no dataset version {job.dataset_version}", pipeline=job.pipeline)
    if version.state != "sealed":
        why = f": {version.reason}" if version.reason else ""
        raise FailedPrecondition(f"dataset version {job.dataset_version} of {job.pipeline} is {version.state}{why}")
    return version.manifest_uri


def _dataset(artifacts: Artifacts, manifest_uri: str) -> DatasetInput:
    manifest = read_manifest(artifacts, manifest_uri)
    parts = (DatasetPart(Path(artifacts.fetch_file(part.uri, part.digest)), part.digest) for part in manifest.parts)
    return DatasetInput(manifest.digest, tuple(parts))
