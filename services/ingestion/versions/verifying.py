"""What has to be shown before a dataset version is sealed: its parts are as they were written, their Merkle roots, and
that no row stands on two sides of the split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from services.ingestion.near.leaks import LeakReport, check_leaks
from services.ingestion.versions.planning import Plan
from shared.errors import DataCorrupted, NotFound
from shared.storage import merkle
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import Manifest, Part, read_manifest, read_sides
from shared.telemetry.logs import get_logger

DAMAGED = "its part is not as it was written"
LEAKS = "rows of it stand, or nearly stand, on another side of the split as well"
log = get_logger(__name__)


@dataclass(frozen=True)
class Verified:
    """The whole manifest, or why some of its batches can't be sealed: reason -> batches."""

    manifest: Manifest
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Verifier:
    """Remembers what it has looked at, so that a plan that had to be made again costs only what is new in it."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._roots: dict[tuple[str, bool], str] = {}
        self._checked: dict[str, int] = {}
        """Parts whose rows were found on one side only, by digest, and how many rows they have."""

    def verify(self, plan: Plan) -> Verified:
        manifest, damaged = self._rooted(plan)
        if damaged:
            return Verified(manifest, {DAMAGED: damaged})
        return self._without_leaks(plan, manifest)

    def _rooted(self, plan: Plan) -> tuple[Manifest, list[str]]:
        """The manifest with Merkle roots and sums, and the batches whose parts are damaged."""
        self._roots |= self._roots_before(plan)
        parts, damaged = [], []
        for part in plan.manifest.parts:
            try:
                parts.append(replace(part, root=self._root(part)))
            except (NotFound, DataCorrupted, pa.ArrowException) as error:
                log.error("a part does not verify", batch=part.batch, error=str(error))
                damaged.append(part.batch)
        manifest = replace(plan.manifest, parts=tuple(parts), merkle_root=version_root(parts))
        return counted(manifest), damaged

    def _without_leaks(self, plan: Plan, manifest: Manifest) -> Verified:
        """What an earlier version held was looked at when that one was sealed; a rewritten part has only lost rows."""
        threshold = leak_threshold(plan)
        fresh = [part for part in plan.new if part.digest not in self._checked]
        report = LeakReport((), 0, 0, sum(part.rows for part in manifest.parts), 0.0)
        if fresh:
            report = check_leaks(self._artifacts, manifest, [part.batch for part in fresh], threshold)
        if report.exact + report.near:
            return Verified(manifest, {LEAKS: _offending(report, plan)})
        self._checked |= {part.digest: part.rows for part in fresh}
        figures = {
            "pairs": 0,
            "rows": report.rows,
            "new_rows": sum(self._checked[part.digest] for part in plan.new),
            "threshold": threshold,
            "missed_probability": report.missed_probability,
        }
        return Verified(replace(manifest, leak_check=figures))

    def _roots_before(self, plan: Plan) -> dict[tuple[str, bool], str]:
        if not plan.parent_uri or self._roots:
            return {}
        before = read_manifest(self._artifacts, plan.parent_uri).parts
        return {(part.digest, part.test): part.root for part in before if part.root}

    def _root(self, part: Part) -> str:
        key = part.digest, part.test
        if key not in self._roots:
            path = self._artifacts.fetch_file(part.uri, part.digest)
            self._roots[key] = merkle.rows_root(read_sides(path, part.test))
        return self._roots[key]


def leak_threshold(plan: Plan) -> float | None:
    """Similarity from which rows on two sides are a leak; None where only equal inputs are."""
    near = plan.spec.data.near_duplicates
    return near.threshold if near.enabled else None


def _offending(report: LeakReport, plan: Plan) -> list[str]:
    """Of each pair the batch that came last; what was sealed before stays."""
    order = {part.batch: place for place, part in enumerate(plan.new)}
    pairs = [{pair.first.batch, pair.second.batch} & order.keys() for pair in report.pairs]
    return sorted({max(batches, key=order.__getitem__) for batches in pairs if batches})


def version_root(parts: Iterable[Part]) -> str:
    """Merkle root of a version, in hex; parts without rows that count have no place in the tree."""
    return merkle.join([part.root for part in parts if part.rows])


def counted(manifest: Manifest) -> Manifest:
    """The manifest with its sums."""
    parts = manifest.parts
    counts = {
        "train": sum(part.train for part in parts),
        "validation": sum(part.validation for part in parts),
        "test": sum(part.test_rows for part in parts if part.test),
    }
    sources: dict[str, int] = {}
    licences: dict[str, int] = {}
    for part in parts:
        sources[part.source] = sources.get(part.source, 0) + part.rows
        licences[part.licence] = licences.get(part.licence, 0) + part.rows
    return replace(manifest, counts=counts, sources=sources, licences=licences)
