"""The frozen test rows that judge a version: the same for it, the champion and the base model."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import nsmallest
from operator import itemgetter
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.storage.artifacts import Artifacts
from shared.storage.datasets import read_manifest, read_rows
from shared.storage.repositories import datasets
from shared.storage.tables import DatasetVersion, ModelVersion

Row = dict[str, Any]


@dataclass(frozen=True)
class FrozenRows:
    """Test rows in the order of their ids, which has nothing to do with their content or age."""

    rows: Sequence[Row]
    batches: int
    """How many batches they come from."""
    digest: str
    """SHA-256 over their ids, in hex: equal digests, equal rows."""


def manifest_uri(session: Session, version: ModelVersion) -> str:
    """Where the manifest of a version's dataset version is. Raises NotFound."""
    row = session.get(DatasetVersion, (version.model, version.dataset_version))
    if row is None or not row.manifest_uri:
        raise NotFound(f"dataset {version.model} has no sealed version {version.dataset_version}")
    return row.manifest_uri


def judging_uri(session: Session, version: ModelVersion) -> str:
    """Where the manifest is whose test rows judge a version: its own dataset version's or, when rows of that were
    deleted since, that of the newest one, which has what is left of them. Raises NotFound."""
    row = session.get(DatasetVersion, (version.model, version.dataset_version))
    newest = datasets.newest_sealed(session, version.model) if row and row.state == "expired" else None
    return newest.manifest_uri if newest else manifest_uri(session, version)


def select_rows(artifacts: Artifacts, candidate_uri: str, champion_uri: str | None, most: int) -> FrozenRows:
    """The test side of the candidate's dataset version, but at most the `most` rows whose ids come first.

    Ids are hashes, so those are a fair sample, and nearly the same one as rows are added.

    With a champion, only batches that its own dataset version has: an earlier promotion trusted those, and
    rows that came later (perhaps spoiled ones) have no say in whether what was learnt from them is better.
    """
    manifest = read_manifest(artifacts, candidate_uri)
    trusted = None
    if champion_uri is not None:
        trusted = frozenset(part.batch for part in read_manifest(artifacts, champion_uri).parts)
    rows = nsmallest(most, read_rows(artifacts, manifest, "test", trusted), key=itemgetter("row_id"))
    ids = [row["row_id"] for row in rows]
    return FrozenRows(rows, len({row["batch"] for row in rows}), sha256("\n".join(ids).encode()).hexdigest())
