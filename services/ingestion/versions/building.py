"""Sealing dataset versions: every accepted batch, in a manifest that never changes.

Any number of builders may work on a pipeline at once, and any may die half way. What a version would hold is
planned under the pipeline's lock, checked without it, and sealed under it only if every planned batch still stands.
So nothing is sealed twice, nothing is waited for, and batches that keep coming hold no version up.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.ingestion.figures.statistics import summarise
from services.ingestion.versions.holding import Holding
from services.ingestion.versions.planning import Plan, move, plan_version, still_holds
from services.ingestion.versions.verifying import Verified, Verifier
from shared.contracts.messages import ConsiderDatasetVersion
from shared.contracts.routes import CONSIDER_DATASET_VERSION
from shared.errors import Unavailable
from shared.rows.splits import SPLITS
from shared.storage import outbox
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database, clock
from shared.storage.datasets import Manifest, Part
from shared.storage.repositories import datasets, pipelines
from shared.storage.tables import Batch, DatasetVersion
from shared.telemetry.logs import get_logger

ATTEMPTS = 20
log = get_logger(__name__)


class Builder:
    """Builds the next dataset version of a pipeline when there is something new to put into it."""

    def __init__(self, database: Database, artifacts: Artifacts, holding: Holding) -> None:
        self._database, self._artifacts, self._holding = database, artifacts, holding

    def build(self, pipeline: str) -> int | None:
        """Returns the version that this call sealed; None when the newest one is up to date.

        A batch whose part is not as it was written, or whose rows stand on two sides of the split, is held.
        Raises Unavailable when batches keep changing.
        """
        verifier = Verifier(self._artifacts)
        for _ in range(ATTEMPTS):
            with self._database.write() as session:
                plan = plan_version(session, pipeline)
            if plan is None:
                return None
            verified = verifier.verify(plan)
            for reason, broken in verified.refused.items():
                log.error("batches can't be sealed", pipeline=pipeline, batches=broken, reason=reason)
                self._holding.hold_all(pipeline, broken, reason, "ingestion")
            if not verified.refused and self._seal(plan, verified):
                return plan.manifest.version
        raise Unavailable(f"the batches of pipeline {pipeline!r} keep changing", pipeline=pipeline)

    def _seal(self, plan: Plan, verified: Verified) -> bool:
        manifest = verified.manifest
        pipeline, number = manifest.pipeline, manifest.version
        uri = f"datasets/{pipeline}/versions/{number}-{manifest.digest[:16]}.json"
        self._artifacts.write_bytes(uri, manifest.to_json())
        with self._database.write() as session:
            pipelines.lock(session, pipeline)
            version = datasets.get(session, pipeline, number)
            held = still_holds(session, manifest)
            if version.state != "validating" or held is None:
                return False
            _fill(session, version, manifest, plan.new, held)
            version.manifest_uri = uri
            outbox.put(session, CONSIDER_DATASET_VERSION, ConsiderDatasetVersion(pipeline=pipeline, version=number))
        rows = version.train + version.validation + version.test
        log.info("dataset version sealed", pipeline=pipeline, version=number, rows=rows, new_rows=version.new_rows)
        return True


def _fill(
    session: Session, version: DatasetVersion, manifest: Manifest, new: Sequence[Part], held: Sequence[Batch]
) -> None:
    """Another builder may have planned the same number with other batches meanwhile; what is sealed is this plan."""
    move(version, "sealed")
    datasets.set_batches(session, version.pipeline, version.version, (batch.id for batch in held))
    version.digest, version.merkle_root = manifest.digest, manifest.merkle_root
    version.train, version.validation, version.test = (manifest.counts[split] for split in SPLITS)
    version.new_rows = sum(part.rows for part in new)
    version.leaks = manifest.leak_check.get("pairs", 0)
    version.statistics = {**summarise(held), "licences": manifest.licences, "leak_check": manifest.leak_check}
    version.sealed_at = clock(session)
    for batch in held:
        batch.dataset_version = batch.dataset_version or version.version
