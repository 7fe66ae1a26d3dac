"""What the next dataset version of a pipeline would hold. Everything here runs under the pipeline's lock."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.ingestion.rules import VERSION as RULES_VERSION
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS
from shared.storage.database import clock
from shared.storage.datasets import Manifest, Part
from shared.storage.repositories import batches, datasets, pipelines
from shared.storage.states import DATASET_VERSION_STATES, check_transition
from shared.storage.tables import Batch, DatasetVersion

NO_RULES = {"sources", "licence", "retention"}
"""Keys of the section `data` that do nothing to a row."""


@dataclass(frozen=True)
class Plan:
    """What a version will hold, which of its parts the version before it did not have, and that version's manifest."""

    spec: PipelineSpec
    manifest: Manifest
    new: tuple[Part, ...]
    parent_uri: str


def plan_version(session: Session, pipeline: str) -> Plan | None:
    """None when the newest version is up to date, or the pipeline is no more.

    A version that somebody left unfinished is taken over; one whose batches are all held by now is rejected.
    """
    found = pipelines.lock(session, pipeline)
    if found is None or found.deleted_at is not None:
        return None
    parts = [part_of(batch) for batch in batches.usable(session, pipeline, statistics=False)]
    newest, unfinished = datasets.newest_built(session, pipeline), datasets.unfinished(session, pipeline)
    digest = digest_of(parts)
    if _is_up_to_date(newest, digest):
        if unfinished:
            move(unfinished, "rejected", "the batches that it was for are held")
        return None
    version = unfinished or _announce(session, pipeline, newest)
    version.digest = digest
    datasets.set_batches(session, pipeline, version.version, (part.batch for part in parts))
    older = set(datasets.batches_of(session, pipeline, newest.version)) if newest else set()
    spec = PipelineSpec.model_validate(found.spec)
    schema = SCHEMAS[spec.kind]
    manifest = Manifest(
        pipeline,
        version.version,
        spec.kind,
        digest,
        tuple(parts),
        parent=version.parent or 0,
        schema={"kind": schema.kind, "version": schema.version, "columns": list(schema.columns)},
        rules={
            **spec.data.model_dump(mode="json", exclude=NO_RULES),
            "revision": found.revision,
            "version": RULES_VERSION,
        },
    )
    new = tuple(part for part in parts if part.batch not in older)
    return Plan(spec, manifest, new, newest.manifest_uri if newest else "")


def _is_up_to_date(newest: DatasetVersion | None, digest: str) -> bool:
    """Nothing can be read of a version that has expired, so another one follows it whatever it held."""
    if newest is None:
        return digest == digest_of([])
    return newest.state == "sealed" and newest.digest == digest


def still_holds(session: Session, manifest: Manifest) -> list[Batch] | None:
    """The batches of a plan, in its order; None when one of them was held, rewritten or taken from the judges since.

    Batches that came meanwhile do not matter: they asked for a version of their own.
    """
    by_id = {batch.id: batch for batch in batches.usable(session, manifest.pipeline)}
    planned = [by_id.get(part.batch) for part in manifest.parts]
    for batch, part in zip(planned, manifest.parts, strict=True):
        if batch is None or (batch.part_digest, batch.test_eligible) != (part.digest, part.test):
            return None
    return [batch for batch in planned if batch is not None]


def move(version: DatasetVersion, to: str, reason: str = "") -> None:
    """Raises IllegalTransition."""
    check_transition(DATASET_VERSION_STATES, f"dataset version {version.version}", version.state, to)
    version.state, version.reason = to, reason


def part_of(batch: Batch) -> Part:
    return Part(
        batch.id,
        batch.part_uri,
        batch.part_digest,
        train=batch.train,
        validation=batch.validation,
        test_rows=batch.test,
        test=batch.test_eligible,
        source=batch.source,
        licence=batch.licence,
    )


def digest_of(parts: Sequence[Part]) -> str:
    """What training takes for the dataset's identity: of each part its digest, and whether its test rows count."""
    lines = (f"{part.digest} {int(part.test)}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _announce(session: Session, pipeline: str, newest: DatasetVersion | None) -> DatasetVersion:
    version = DatasetVersion(
        pipeline=pipeline,
        version=datasets.next_number(session, pipeline),
        state="received",
        parent=newest.version if newest else None,
        created_at=clock(session),
    )
    move(version, "validating")
    session.add(version)
    session.flush()
    return version
