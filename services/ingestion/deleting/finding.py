"""Which files hold the rows that somebody wants deleted."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.ingestion.index.indexes import Indexes
from services.ingestion.index.locating import batches_of_ids, batches_with_ids
from services.ingestion.storing.journal import read_journal
from services.ingestion.storing.part_file import opened_part
from services.ingestion.storing.sweeping import FOLDER, MADE, ROOT
from shared.errors import InvalidArgument, NotFound
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.datasets import READ_ROWS, Manifest, read_manifest
from shared.storage.repositories import datasets, pipelines
from shared.storage.tables import Batch, DatasetVersion, ModelVersion

LEAST_CHARACTERS = 8
"""Of a row id, as they are shown in lists."""
ID_CHARACTERS = 64
PART = ".parquet"


@dataclass(frozen=True)
class Wanted:
    """Rows by id, or by the first characters of it, and sources all of whose rows are meant."""

    pipeline: str
    rows: frozenset[str]
    sources: frozenset[str]


@dataclass
class Found:
    """`parts`: URI of a file that holds rows -> their ids and sides; `old` are those files that no batch names now."""

    batches: dict[str, Batch] = field(default_factory=dict)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    old: set[str] = field(default_factory=set)
    mentions: dict[str, Batch] = field(default_factory=dict)
    """Batches that lose no row, but whose journals name one as a copy of theirs."""
    present: set[str] = field(default_factory=set)
    """URIs of all parts of the pipeline that there are."""
    unknown: tuple[str, ...] = ()

    @property
    def row_ids(self) -> set[str]:
        return {row_id for rows in self.parts.values() for row_id in rows}

    @property
    def trained_on(self) -> set[str]:
        """Batches some of whose rows steer or teach a model: not all are on the test side."""
        return {_batch_of(uri) for uri, rows in self.parts.items() if set(rows.values()) - {"test"}}


class Finder:
    """Reads ids out of part files: those of batches that hold the rows by the index, and, as the index does not tell of
    them, those of versions of old that no batch names any more."""

    def __init__(self, database: Database, artifacts: Artifacts, indexes: Indexes) -> None:
        self._database, self._artifacts, self._indexes = database, artifacts, indexes

    def find(self, wanted: Wanted) -> Found:
        """Raises NotFound for a pipeline or source that there is none of, InvalidArgument for an ambiguous id."""
        with self._database.read() as session:
            pipelines.get(session, wanted.pipeline, deleted=True)
            all_batches = list(session.scalars(select(Batch).where(Batch.pipeline == wanted.pipeline)))
            likely = self._likely(session, wanted, all_batches)
        for source in sorted(wanted.sources - {batch.source for batch in all_batches}):
            raise NotFound(f"no batch of pipeline {wanted.pipeline!r} has the source {source!r}", source=source)
        found = Found()
        whole = {batch.id: batch for batch in all_batches if batch.source in wanted.sources}
        found.batches.update(whole)
        current = {batch.part_uri: batch for batch in all_batches if batch.part_uri}
        found.present = set(current) | self._stored(wanted.pipeline)
        heads = _Heads(wanted.rows)
        unlikely = {uri for uri, batch in current.items() if batch.id not in likely and batch.id not in whole}
        for uri in sorted(found.present - unlikely):
            if not (rows := self._rows_in(uri, None if _batch_of(uri) in whole else heads)):
                continue
            found.parts[uri] = rows
            if uri in current:
                found.batches[_batch_of(uri)] = current[uri]
            else:
                found.old.add(uri)
        for uri in found.old - self._readable(wanted.pipeline, found.old):
            del found.parts[uri]  # left over by an earlier deletion, say
        heads.check()
        for batch in all_batches:
            if batch.journal_uri and batch.id not in found.batches and self._is_named(batch, found.row_ids):
                found.mentions[batch.id] = batch
        found.unknown = tuple(sorted(heads.unmatched))
        return found

    def _likely(self, session: Session, wanted: Wanted, batches: Sequence[Batch]) -> set[str]:
        """Batches that the index has such rows of, and those that it knows nothing of."""
        if not wanted.rows:
            return set()
        view = self._indexes.view_in(session, pipelines.spec(session, wanted.pipeline, deleted=True))
        unknown = {batch.id for batch in batches} - batches_with_ids(view)
        return unknown.union(*(batches_of_ids(view, row) for row in wanted.rows))

    def _stored(self, pipeline: str) -> set[str]:
        folder = f"{ROOT}/{pipeline}/{FOLDER}"
        names = (name for name in self._artifacts.list(folder) if MADE.match(name) and is_part(name))
        return {f"{folder}/{name}" for name in names}

    def _is_named(self, batch: Batch, row_ids: Collection[str]) -> bool:
        if not row_ids:
            return False
        path = self._artifacts.fetch_file(batch.journal_uri, batch.journal_digest)
        return any(entry.row_id in row_ids or entry.other in row_ids for entry in read_journal(path))

    def _readable(self, pipeline: str, uris: Collection[str]) -> set[str]:
        """Those of some files that a version which can be read names."""
        with self._database.read() as session:
            versions = datasets.sealed_with(session, pipeline, {_batch_of(uri) for uri in uris})
        named = {part.uri for one in versions for part in read_manifest(self._artifacts, one.manifest_uri).parts}
        return named & set(uris)

    def _rows_in(self, uri: str, heads: "_Heads | None") -> dict[str, str]:
        """Ids and sides of a part's rows that are meant; all of them when `heads` is None."""
        if heads is not None and not heads:
            return {}
        rows: dict[str, str] = {}
        try:
            with opened_part(self._artifacts, uri) as file:
                for chunk in file.iter_batches(READ_ROWS, columns=["row_id", "split"]):
                    ids, sides = chunk["row_id"].to_pylist(), chunk["split"].to_pylist()
                    for row_id, side in zip(ids, sides, strict=True):
                        if heads is None or heads.match(row_id):
                            rows[row_id] = side
        except NotFound:
            return {}  # swept meanwhile
        return rows


class _Heads:
    """Row ids, whole or only their first characters, matched against many."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._by_head: dict[str, list[str]] = {}
        self._matches: dict[str, set[str]] = {one: set() for one in wanted}
        for one in wanted:
            self._by_head.setdefault(one[:LEAST_CHARACTERS], []).append(one)

    def __bool__(self) -> bool:
        return bool(self._matches)

    def match(self, row_id: str) -> bool:
        wanted = self._by_head.get(row_id[:LEAST_CHARACTERS])
        if wanted is None:
            return False
        meant = [one for one in wanted if row_id.startswith(one)]
        for one in meant:
            self._matches[one].add(row_id)
        return bool(meant)

    @property
    def unmatched(self) -> list[str]:
        return [one for one, found in self._matches.items() if not found]

    def check(self) -> None:
        """Raises InvalidArgument when a shortened id could mean several rows."""
        for one, found in self._matches.items():
            if len(found) > 1:
                raise InvalidArgument(
                    f"rows: {one!r} could be {len(found)} rows; give more characters of the id", field="rows"
                )


def check_wanted(pipeline: str, rows: Iterable[str], sources: Iterable[str], reason: str) -> Wanted:
    """Raises InvalidArgument for what can't be meant."""
    wanted = Wanted(pipeline, frozenset(rows), frozenset(sources))
    if not wanted.rows and not wanted.sources:
        raise InvalidArgument("rows and sources are empty; name what is to be deleted", field="rows")
    for row in sorted(wanted.rows):
        if not LEAST_CHARACTERS <= len(row) <= ID_CHARACTERS or set(row) - set("0123456789abcdef"):
            raise InvalidArgument(
                f"rows: {row[:80]!r} is no row id: {LEAST_CHARACTERS} to {ID_CHARACTERS} characters of 0-9 and a-f",
                field="rows",
            )
    if not reason.strip():
        raise InvalidArgument("reason is empty; it is all that is kept of a deletion", field="reason")
    return wanted


def seen_by_versions(
    session: Session, artifacts: Artifacts, pipeline: str, found: Found
) -> tuple[list[DatasetVersion], set[int]]:
    """Sealed and expired versions that hold, or held, rows of the found ones, and those whose rows taught a model.

    A file that is gone was rewritten or released since, which only ever takes rows out: it held what its batch holds.
    """
    held = {_batch_of(uri) for uri in found.parts}
    query = select(DatasetVersion).where(
        DatasetVersion.pipeline == pipeline, DatasetVersion.state.in_(("sealed", "expired"))
    )
    seen, taught = [], set()
    for version in session.scalars(query.order_by(DatasetVersion.version)):
        parts = _parts_with(read_manifest(artifacts, version.manifest_uri), held, found)
        if parts:
            seen.append(version)
        if parts & found.trained_on:
            taught.add(version.version)
    return seen, taught


def taught(session: Session, pipeline: str, versions: Collection[int]) -> list[int]:
    """Model versions that were trained on one of these dataset versions."""
    query = select(ModelVersion.version).where(
        ModelVersion.model == pipeline, ModelVersion.dataset_version.in_(sorted(versions))
    )
    return list(session.scalars(query))


def is_part(name: str) -> bool:
    """By the name of a file: `batch-ID.part-ID.parquet`, and no journal or index."""
    return name.endswith(PART) and name.count(".") == 2


def _parts_with(manifest: Manifest, held: Collection[str], found: Found) -> set[str]:
    """Batches by which a version holds rows of the found ones."""
    return {
        part.batch
        for part in manifest.parts
        if part.batch in held and (part.uri in found.parts or part.uri not in found.present)
    }


def _batch_of(uri: str) -> str:
    match = MADE.match(uri.rpartition("/")[2])
    assert match, "parts are named by their batch"
    return match[1]
