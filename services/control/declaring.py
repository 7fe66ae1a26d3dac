"""Declaring, changing and deleting pipelines. A pipeline that has data keeps what its data depends on."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.control import audit
from services.control.translators import check_translators
from shared.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from shared.pipelines.bases import MODEL_REFERENCE, base_exists
from shared.pipelines.fitting import check_method
from shared.pipelines.kinds import NEW_BASE
from shared.pipelines.methods import ADAPTERS
from shared.pipelines.schema import PipelineSpec
from shared.rpc import callers
from shared.storage.database import clock
from shared.storage.repositories import datasets, jobs, pipelines
from shared.storage.tables import Batch, Job, Pipeline


def apply(session: Session, wanted: PipelineSpec, *, dry_run: bool = False) -> tuple[Pipeline, bool]:
    """Declares or changes a pipeline. Returns it, and whether anything changed, or would.

    Raises InvalidArgument for a base model that is nowhere or is none, or that the method can't train;
    FailedPrecondition for a change that the data forbids.
    """
    found = pipelines.lock(session, wanted.name)
    if found is not None and _has_data(session, wanted.name):
        _check_change(session, PipelineSpec.model_validate(found.spec), wanted)
    check_models(session, wanted)
    check_priority(wanted)
    if dry_run:
        return _preview(session, found, wanted)
    mine = found is None or found.deleted_at is not None
    row, changed = pipelines.save(session, wanted)
    if mine:
        row.tenant = callers.tenant()
    if changed:
        audit.record(session, "apply_pipeline", row.name, revision=row.revision)
    return row, changed


def check_priority(wanted: PipelineSpec) -> None:
    """Raises PermissionDenied when the caller's key does not allow the priority of the pipeline's jobs."""
    caller = callers.current.get()
    if wanted.trigger.priority > caller.priority_max:
        raise PermissionDenied(
            f"trigger.priority is {wanted.trigger.priority}; this key of {caller.tenant!r} may use at most "
            f"{caller.priority_max}",
            field="trigger.priority",
            tenant=caller.tenant,
        )


def delete(session: Session, name: str) -> Pipeline:
    """Stops a pipeline: it takes no more rows and starts no more jobs. Raises NotFound."""
    pipelines.lock(session, name)
    row = pipelines.get(session, name)
    row.deleted_at = row.updated_at = clock(session)
    audit.record(session, "delete_pipeline", name, revision=row.revision)
    return row


def cancel_jobs(session: Session, name: str) -> None:
    """Cancels what a deleted pipeline still trains.

    In a transaction of its own: whoever finishes a job locks the job before the pipeline, not after it.
    """
    going = select(Job.id).where(Job.pipeline == name, Job.state.in_((*jobs.ACTIVE, "paused")))
    for id in session.scalars(going).all():
        jobs.want(session, id, "cancel")


def check_models(session: Session, wanted: PipelineSpec) -> None:
    """Raises InvalidArgument for a base model as `check_base` does, and for models that are to paraphrase rows and
    can't."""
    check_base(session, wanted)
    check_translators(session, wanted)


def check_base(session: Session, wanted: PipelineSpec) -> None:
    """Raises InvalidArgument for a base model that is nowhere or is none, or that the method can't train."""
    missing = base_exists(wanted.base)
    if missing is not None:
        raise InvalidArgument(f"base: {missing}", field="base")
    check_method(wanted.kind, wanted.base, wanted.method)
    reference = MODEL_REFERENCE.fullmatch(wanted.base)
    if reference is None:
        return
    source = session.get(Pipeline, reference["model"])
    if source is None or source.deleted_at is not None:
        raise InvalidArgument(f"base: there is no pipeline {reference['model']!r}", field="base")
    method = PipelineSpec.model_validate(source.spec).method.name
    if method in ADAPTERS:
        raise InvalidArgument(
            f"base: versions of {source.name!r} are adapters ({method}), not whole models; "
            f"name its own base {source.spec['base']!r}, or train {source.name!r} with method full",
            field="base",
        )
    if source.spec["base"] != NEW_BASE:  # training changes no architecture
        check_method(wanted.kind, source.spec["base"], wanted.method)


def _preview(session: Session, found: Pipeline | None, wanted: PipelineSpec) -> tuple[Pipeline, bool]:
    fields, now = wanted.model_dump(mode="json"), clock(session)
    if found is None:
        return Pipeline(name=wanted.name, revision=1, spec=fields, created_at=now, updated_at=now), True
    if found.deleted_at is None and found.spec == fields:
        return found, False
    created = found.created_at
    return Pipeline(
        name=wanted.name, revision=found.revision + 1, spec=fields, created_at=created, updated_at=now
    ), True


def _has_data(session: Session, name: str) -> bool:
    return session.scalars(select(Batch.id).where(Batch.pipeline == name, Batch.accepted > 0)).first() is not None


def _check_change(session: Session, present: PipelineSpec, wanted: PipelineSpec) -> None:
    name = present.name
    if wanted.kind != present.kind:
        raise FailedPrecondition(
            f"pipeline {name!r} has rows of kind {present.kind}; declare another pipeline for {wanted.kind}",
            field="kind",
        )
    if wanted.data.splits != present.data.splits:
        raise FailedPrecondition(
            f"pipeline {name!r} has rows already, and a row never changes sides: its splits stay as they are",
            field="data.splits",
        )
    gone = [label for label in _labels_in_use(session, present) if label not in (wanted.labels or [label])]
    if gone:
        raise FailedPrecondition(
            f"pipeline {name!r} has rows labelled {', '.join(gone)}: labels can be added, not taken away",
            field="labels",
        )


def _labels_in_use(session: Session, present: PipelineSpec) -> list[str]:
    newest = datasets.newest_sealed(session, present.name)
    counted = newest.statistics.get("labels", {}).values() if newest else ()
    return present.labels or sorted({label for split in counted for label in split})
