"""The life of a row: where it came in, what was done to it, who else brought it, which side it is on, where it went."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import select

from services.ingestion.deleting.finding import ID_CHARACTERS, LEAST_CHARACTERS
from services.ingestion.index.indexes import Indexes
from services.ingestion.index.locating import batches_of_clusters, batches_of_ids
from services.ingestion.queries.sides_told import why_this_side
from services.ingestion.storing.journal import Entry, entries_of
from services.ingestion.storing.part_file import opened_part
from shared.errors import InvalidArgument, NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.repositories import lives, pipelines
from shared.storage.tables import Batch

READERS = 8
SHOWN_NEAR = 100
HEXADECIMAL = frozenset("0123456789abcdef")
ORDER = [
    "received",
    "changed",
    "masked",
    "hashed",
    "flagged",
    "duplicate",
    "clustered",
    "split",
    "accepted",
    "quarantined",
    "sealed",
    "trained",
    "held",
    "released",
    "deleted",
]
"""Of what happened at the same moment."""
OURS = ("row_id", "split", "line", "cluster", "flags")
"""Columns of a part that are not the row's own."""


class Event(NamedTuple):
    """Something that happened to a row. `subject` is the batch, dataset version or model version that it is about."""

    event: str
    subject: str
    detail: str
    at: datetime


@dataclass
class Life:
    """`batch` and `fields` are empty for a row that the dataset does not hold (any more)."""

    row_id: str
    batch: str = ""
    split: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    dataset_versions: list[int] = field(default_factory=list)
    model_versions: list[int] = field(default_factory=list)


class _Stored(NamedTuple):
    """A row in a batch's part."""

    batch: Batch
    row: dict[str, Any]


class _Told(NamedTuple):
    """An entry of a batch's journal."""

    batch: Batch
    entry: Entry


class Lives:
    """Puts a life together from parts, journals and the database. Nothing is kept for it."""

    def __init__(self, database: Database, artifacts: Artifacts, indexes: Indexes) -> None:
        self._database, self._artifacts, self._indexes = database, artifacts, indexes

    def explain(self, pipeline: str, row: str) -> Life:
        """`row` is an id, or the first characters of it.

        Raises NotFound (no such pipeline or row) and InvalidArgument (no id, or one that could be several rows).
        """
        _check(row)
        with self._database.read() as session:
            spec = pipelines.spec(session, pipeline, deleted=True)
            batches = list(session.scalars(select(Batch).where(Batch.pipeline == pipeline).order_by(Batch.created_at)))
        view = self._indexes.view(spec)
        with ThreadPoolExecutor(READERS, "explain") as readers:
            holders = _among(batches, batches_of_ids(view, row))
            stored = [found for some in readers.map(lambda one: self._stored(one, row), holders) for found in some]
            told = [found for some in readers.map(lambda one: self._told(one, row), batches) for found in some]
            row_id = self._one(pipeline, row, stored, told)
            life = Life(row_id)
            clusters = {found.row["cluster"] for found in stored if found.row.get("cluster")}
            alike = _among(batches, batches_of_clusters(view, clusters))
            near = readers.map(lambda one: self._in_clusters(one, clusters), alike)
            life.near = [id for some in near for id in some if id != row_id][:SHOWN_NEAR]
        life.events += _told_events(told, row_id)
        for holder in stored:
            _lived_in(life, holder, spec)
        self._afterwards(life, pipeline, stored)
        life.events.sort(key=lambda event: (event.at, ORDER.index(event.event)))
        return life

    def _stored(self, batch: Batch, row: str) -> list[_Stored]:
        if not batch.part_uri:
            return []
        try:
            with opened_part(self._artifacts, batch.part_uri) as file:
                return [_Stored(batch, found) for found in _rows_of(file, row)]
        except NotFound:
            return []  # rewritten meanwhile

    def _in_clusters(self, batch: Batch, clusters: Collection[str]) -> list[str]:
        """Ids of the batch's rows that stand in one of these clusters."""
        if not batch.part_uri:
            return []
        try:
            with opened_part(self._artifacts, batch.part_uri) as file:
                if "cluster" not in file.schema_arrow.names:
                    return []
                table = file.read(columns=["row_id", "cluster"])
        except NotFound:
            return []  # rewritten meanwhile
        alike = pc.is_in(table["cluster"], pa.array(sorted(clusters), pa.string()))
        return [str(id) for id in table["row_id"].filter(alike).to_pylist()]

    def _told(self, batch: Batch, row: str) -> list[_Told]:
        if not batch.journal_uri:
            return []
        try:
            path = self._artifacts.fetch_file(batch.journal_uri, batch.journal_digest)
        except (NotFound, FileNotFoundError):
            return []  # rewritten meanwhile
        return [_Told(batch, entry) for entry in entries_of(path, row)]

    def _one(self, pipeline: str, row: str, stored: Iterable[_Stored], told: Iterable[_Told]) -> str:
        """The id that is meant."""
        known = {found.row["row_id"] for found in stored}
        known |= {id for _, entry in told for id in (entry.row_id, entry.other) if id.startswith(row)}
        if len(known) > 1:
            raise InvalidArgument(
                f"row={row!r} could be {len(known)} rows; give more characters of the id", field="row"
            )
        if known:
            return str(known.pop())
        with self._database.read() as session:
            if len(row) == ID_CHARACTERS and lives.deletions(session, pipeline, row):
                return row
        raise NotFound(f"pipeline {pipeline!r} has no row {row!r}", pipeline=pipeline, row=row)

    def _afterwards(self, life: Life, pipeline: str, stored: Sequence[_Stored]) -> None:
        """What batches, versions and models made of it."""
        batches = {found.batch.id: str(found.row["split"]) for found in stored}
        with self._database.read() as session:
            for act in lives.acts(session, batches):
                word = "held" if act.action == "hold_batch" else "released"
                life.events.append(Event(word, act.target, str(act.detail.get("reason", "")), act.created_at))
            taught: set[int] = set()
            for version, batch in lives.versions(session, pipeline, batches):
                life.dataset_versions.append(version.version)
                if version.sealed_at:
                    life.events.append(Event("sealed", str(version.version), version.state, version.sealed_at))
                if batches[batch] == "train":
                    taught.add(version.version)
            for model in lives.models(session, pipeline, taught):
                life.model_versions.append(model.version)
                detail = f"learnt from dataset version {model.dataset_version}"
                life.events.append(Event("trained", str(model.version), detail, model.created_at))
            for deletion in lives.deletions(session, pipeline, life.row_id):
                life.events.append(Event("deleted", deletion.id, deletion.reason, deletion.created_at))


def _among(batches: Iterable[Batch], ids: Collection[str]) -> list[Batch]:
    return [batch for batch in batches if batch.id in ids]


def _check(row: str) -> None:
    if not LEAST_CHARACTERS <= len(row) <= ID_CHARACTERS or set(row) - HEXADECIMAL:
        message = f"row={row[:80]!r} is no row id: {LEAST_CHARACTERS} to {ID_CHARACTERS} characters of 0-9 and a-f"
        raise InvalidArgument(message, field="row")


def _rows_of(file: pq.ParquetFile, row: str) -> Iterator[dict[str, Any]]:
    """Rows whose id begins so: the ids are read first, and all columns only of the groups that have it."""
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=["row_id"])["row_id"]
        if pc.any(pc.starts_with(ids, row)).as_py():
            table = file.read_row_group(group)
            yield from table.filter(pc.starts_with(table["row_id"], row)).to_pylist()


def _told_events(told: Iterable[_Told], row_id: str) -> Iterator[Event]:
    for batch, entry in told:
        if entry.row_id != row_id:
            continue
        words = (f"line {entry.line}", entry.rule)
        detail = ", ".join(filter(None, (*words, entry.detail)))
        yield Event("clustered" if entry.outcome == "near" else entry.outcome, batch.id, detail, batch.created_at)


def _lived_in(life: Life, holder: _Stored, spec: PipelineSpec) -> None:
    """What the batch that holds the row tells."""
    batch, row = holder
    came = f"from {batch.source}" + (f", line {row['line']}" if row.get("line") else "")
    side = why_this_side(spec, row)
    life.events += [
        Event("received", batch.id, came, batch.created_at),
        Event("split", str(row["split"]), side, batch.created_at),
        Event("accepted", batch.id, "", batch.created_at),
    ]
    if not life.batch or batch.state == "accepted":
        life.batch, life.split = batch.id, str(row["split"])
        life.fields = {name: value for name, value in row.items() if name not in OURS and value is not None}
