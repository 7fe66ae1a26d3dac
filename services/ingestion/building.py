"""Sealing dataset versions: every accepted batch, in a manifest that never changes.

Any number of builders may work on a pipeline at once, and any may die half way. What a version would hold is
planned under the pipeline's lock, checked without it, and sealed under it only if it still holds; the digest of
the plan tells. So nothing is sealed twice and nothing is waited for.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.ingestion.holding import Holding
from services.ingestion.statistics import summarise
from shared.contracts.messages import ConsiderDatasetVersion
from shared.contracts.routes import CONSIDER_DATASET_VERSION
from shared.errors import NotFound, Unavailable
from shared.storage import outbox
from shared.storage.artifacts import CHUNK_BYTES, Artifacts
from shared.storage.database import Database, clock
from shared.storage.datasets import Manifest, Part
from shared.storage.repositories import batches, datasets, pipelines
from shared.storage.states import DATASET_VERSION_STATES, check_transition
from shared.storage.tables import Batch, DatasetVersion
from shared.telemetry.logs import get_logger

ATTEMPTS = 20
log = get_logger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a version will hold, and which of its parts the version before it did not have."""

    manifest: Manifest
    new: tuple[Part, ...]


class Builder:
    """Builds the next dataset version of a pipeline when there is something new to put into it."""

    def __init__(self, database: Database, artifacts: Artifacts, holding: Holding) -> None:
        self._database, self._artifacts, self._holding = database, artifacts, holding

    def build(self, pipeline: str) -> int | None:
        """Returns the version that this call sealed; None when the newest one is up to date.

        A part that is not as it was written has its batch held. Raises Unavailable when batches keep changing.
        """
        for _ in range(ATTEMPTS):
            plan = self._plan(pipeline)
            if plan is None:
                return None
            broken = [part.batch for part in plan.new if not self._intact(part)]
            if broken:
                log.error("parts do not verify", pipeline=pipeline, batches=broken)
                self._holding.hold_all(pipeline, broken, "its part is not as it was written", "ingestion")
            elif self._seal(plan):
                return plan.manifest.version
        raise Unavailable(f"the batches of pipeline {pipeline!r} keep changing", pipeline=pipeline)

    def _plan(self, pipeline: str) -> Plan | None:
        with self._database.write() as session:
            found = pipelines.lock(session, pipeline)
            if found is None or found.deleted_at is not None:
                return None
            parts = [_part(batch) for batch in batches.usable(session, pipeline)]
            newest, unfinished = datasets.newest_sealed(session, pipeline), datasets.unfinished(session, pipeline)
            digest = _digest(parts)
            if digest == (newest.digest if newest else _digest([])):
                if unfinished:
                    _move(unfinished, "rejected", "the batches that it was for are held")
                return None
            version = unfinished or _announce(session, pipeline, newest)
            version.digest = digest
            datasets.set_batches(session, pipeline, version.version, (part.batch for part in parts))
            older = set(datasets.batches_of(session, pipeline, newest.version)) if newest else set()
            manifest = Manifest(pipeline, version.version, found.spec["kind"], digest, tuple(parts))
            return Plan(manifest, tuple(part for part in parts if part.batch not in older))

    def _intact(self, part: Part) -> bool:
        digest = hashlib.sha256()
        try:
            with self._artifacts.open(part.uri) as file:
                while data := file.read(CHUNK_BYTES):
                    digest.update(data)
        except NotFound:
            return False
        return digest.hexdigest() == part.digest

    def _seal(self, plan: Plan) -> bool:
        manifest = plan.manifest
        pipeline, number = manifest.pipeline, manifest.version
        uri = f"datasets/{pipeline}/versions/{number}-{manifest.digest[:16]}.json"
        self._artifacts.write_bytes(uri, manifest.to_json())
        with self._database.write() as session:
            pipelines.lock(session, pipeline)
            version = datasets.get(session, pipeline, number)
            held = batches.usable(session, pipeline)
            if version.state != "validating" or _digest([_part(batch) for batch in held]) != manifest.digest:
                return False
            _move(version, "sealed")
            version.manifest_uri, version.sealed_at = uri, clock(session)
            _count(version, manifest.parts, plan.new)
            version.statistics = summarise(held)
            for batch in held:
                batch.dataset_version = batch.dataset_version or number
            outbox.put(session, CONSIDER_DATASET_VERSION, ConsiderDatasetVersion(pipeline=pipeline, version=number))
        rows = version.train + version.validation + version.test
        log.info("dataset version sealed", pipeline=pipeline, version=number, rows=rows, new_rows=version.new_rows)
        return True


def _announce(session: Session, pipeline: str, newest: DatasetVersion | None) -> DatasetVersion:
    version = DatasetVersion(
        pipeline=pipeline,
        version=datasets.next_number(session, pipeline),
        state="received",
        parent=newest.version if newest else None,
        created_at=clock(session),
    )
    _move(version, "validating")
    session.add(version)
    session.flush()
    return version


def _move(version: DatasetVersion, to: str, reason: str = "") -> None:
    check_transition(DATASET_VERSION_STATES, f"dataset version {version.version}", version.state, to)
    version.state, version.reason = to, reason


def _part(batch: Batch) -> Part:
    return Part(
        batch.id,
        batch.part_uri,
        batch.part_digest,
        train=batch.train,
        validation=batch.validation,
        test_rows=batch.test,
        test=batch.test_eligible,
    )


def _digest(parts: Sequence[Part]) -> str:
    lines = (f"{part.digest} {int(part.test)}\n" for part in parts)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _count(version: DatasetVersion, parts: Sequence[Part], new: Sequence[Part]) -> None:
    version.train = sum(part.train for part in parts)
    version.validation = sum(part.validation for part in parts)
    version.test = sum(part.test_rows for part in parts if part.test)
    version.new_rows = sum(part.train + part.validation + part.test_rows * part.test for part in new)
