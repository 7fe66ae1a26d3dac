"""The rows of a batch before anyone else sees them: copies dropped, sides given, in files aside."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from services.ingestion.clusters.recording import segment_of
from services.ingestion.clusters.resolving import Resolved, resolve, touches
from services.ingestion.clusters.rows import REFUSED, Outcome, Room, Rows
from services.ingestion.figures.statistics import Statistics
from services.ingestion.index.deriving import label_hash
from services.ingestion.index.indexes import Indexes
from services.ingestion.index.segment import write_segment
from services.ingestion.index.view import NO_LABEL, View
from services.ingestion.intake.checked import CheckedRow
from services.ingestion.intake.marks import UNMARKED, Marks, marks_of
from services.ingestion.intake.quoting import quoted_row
from services.ingestion.intake.refusing import message_of
from services.ingestion.intake.row_file import RowFile
from services.ingestion.near.keys import key_digest
from services.ingestion.near.shingles import shingled
from services.ingestion.near.sketches import halves, id_halves
from services.ingestion.reading.received import Received
from services.ingestion.scratch import scratch_file
from services.ingestion.storing.journal import Entry
from services.ingestion.storing.part_file import (
    StoredRow,
    name_column,
    part_schema,
    read_stored,
    side_column,
    write_part,
)
from shared.pipelines.kinds import KINDS
from shared.pipelines.schema import PipelineSpec
from shared.rows import SCHEMAS, Reason, RowError

RULES: dict[str, str] = {Reason.SOURCE_CAP: "caps", Reason.BATCH_CAP: "caps", Reason.CONFLICTING_LABEL: "conflicts"}
"""In whose name the journal tells of a row that was refused."""


def unlimited() -> Room | None:
    """No cap."""
    return None


class Refused(NamedTuple):
    """A row that was fit but may not come in."""

    line: int
    row_id: str
    reason: str
    field: str
    message: str
    raw: str


class Draft:
    """Takes rows in and, once they are all there, decides what becomes of each; texts stay on disk."""

    def __init__(
        self, spec: PipelineSpec, folder: Path, indexes: Indexes, room: Callable[[], Room | None] = unlimited
    ) -> None:
        """`room` tells how many rows may come in now."""
        self._room = room
        self._spec, self._folder, self._indexes = spec, folder, indexes
        self._schema = SCHEMAS[spec.kind]
        self._shape = part_schema(self._schema)
        self._spool = RowFile(folder, self._shape)
        self._chunks: list[Rows] = []
        self._unmarked: list[Refused] = []
        self._rows: Rows | None = None
        self._decided: _Decided | None = None

    @property
    def rows(self) -> int:
        """How many are accepted."""
        return sum(self.splits.values())

    @property
    def splits(self) -> dict[str, int]:
        return self._decision.splits

    @property
    def statistics(self) -> Statistics:
        return self._decision.statistics

    @property
    def duplicates(self) -> int:
        """Exact copies, and near copies that were dropped."""
        return self._count(Outcome.DUPLICATE) + self._count(Outcome.NEAR_COPY)

    @property
    def near_duplicates(self) -> int:
        """Accepted rows with a near copy in the dataset; with `keep: first` those that were dropped for it."""
        return int(self._decision.found.near.sum())

    @property
    def reasons(self) -> dict[str, int]:
        """Rows that may not come in, by reason."""
        counts = {outcome.name: self._count(outcome) for outcome in REFUSED}
        for one in self._unmarked:
            counts[one.reason] = counts.get(one.reason, 0) + 1
        return {reason: rows for reason, rows in counts.items() if rows}

    def add(self, rows: Sequence[CheckedRow]) -> None:
        """Takes at most some thousand rows."""
        marked = list(self._marked(rows)) if self._has_marks else [(row, UNMARKED) for row in rows]
        if not marked:
            return
        self._spool.write([row for row, _ in marked])
        self._chunks.append(self._columns([row for row, _ in marked], [marks for _, marks in marked]))

    def finish(self) -> None:
        """No row can be added any more; what becomes of each is decided by what the index holds now."""
        self._spool.finish()
        self._rows = Rows.of(self._chunks, shingled=self._spec.data.near_duplicates.enabled)
        self._chunks = []
        self._decide()

    def again(self) -> "Draft":
        """The same rows, decided by what the index holds by now."""
        self._decision.close()
        self._decide()
        return self

    def is_overtaken(self, now: View) -> bool:
        """Whether a newer view of the index would decide otherwise, for all that one can tell quickly."""
        before = self._decision.view
        if now.change == before.change:
            return False
        later = now.since(before.change)
        if later is None or any(now.states.get(source) != state for source, state in before.states.items()):
            return True
        assert self._rows is not None
        return touches(self._rows, self._decision.found, later, self._spec.data)

    def files(self) -> dict[str, IO[bytes]]:
        """What there is to store, by ending."""
        decided = self._decision
        return {"parquet": decided.part, "index": decided.segment} if self.rows else {}

    def read(self) -> Iterator[list[StoredRow]]:
        """The accepted rows, a few thousand at a time."""
        self._decision.part.seek(0)
        return read_stored(self._decision.part, self._schema)

    def refused(self) -> Iterator[Refused]:
        """Rows that may not come in, in their order."""
        yield from self._unmarked
        found = self._decision.found
        wanted = np.isin(found.outcomes, REFUSED)
        for place, row in self._spool.pick(np.flatnonzero(wanted)):
            reason = Outcome(int(found.outcomes[place])).name
            fields = _fields(row, self._schema.columns)
            raw = quoted_row(Received(row["line"], fields, fields, 0))
            message = message_of(Outcome[reason], found.refusals.get(place))
            yield Refused(row["line"], row["row_id"], reason, "", message, raw)

    def fates(self) -> Iterator[Entry]:
        """What there is to tell of rows: copies, near copies, and those that were refused."""
        for one in self.refused():
            yield Entry(one.line, one.row_id, "quarantined", RULES.get(one.reason, "splits"), "", one.reason)
        found = self._decision.found
        copies = np.isin(found.outcomes, [Outcome.DUPLICATE, Outcome.NEAR_COPY])
        for place, row in self._spool.pick(np.flatnonzero(copies | found.near)):
            cluster = f"cluster {int(found.clusters[place]):016x}" if found.outcomes[place] == Outcome.ACCEPTED else ""
            if found.outcomes[place] == Outcome.DUPLICATE:
                yield Entry(row["line"], row["row_id"], "duplicate", "exact", row["row_id"], "")
            else:
                yield Entry(row["line"], row["row_id"], "near", "near_duplicates", "", cluster or "dropped")

    def close(self) -> None:
        self._spool.close()
        if self._decided:
            self._decided.close()

    @property
    def _decision(self) -> "_Decided":
        assert self._decided is not None, "the draft is finished"
        return self._decided

    @property
    def _has_marks(self) -> bool:
        splits = self._spec.data.splits
        return bool(splits.group or splits.official or splits.by_time)

    def _marked(self, rows: Sequence[CheckedRow]) -> Iterator[tuple[CheckedRow, Marks]]:
        for row in rows:
            assert not isinstance(row.received.fields, RowError)
            try:
                yield row, marks_of(row.received.fields, self._spec.data.splits)
            except RowError as error:
                raw = quoted_row(Received(row.received.line, row.fields, row.fields, 0))
                told = Refused(row.received.line, row.row_id, error.reason, error.field, error.message, raw)
                self._unmarked.append(told)

    def _columns(self, rows: Sequence[CheckedRow], marks: Sequence[Marks]) -> Rows:
        name, labels = self._spec.name, self._schema.labels
        keys = [row.split_key for row in rows]
        labelled = KINDS[self._spec.kind].labelled
        hashes = [label_hash(labels(row.fields)) for row in rows] if labelled else [NO_LABEL] * len(rows)
        return Rows(
            id_halves([row.row_id for row in rows]),
            halves([key_digest(name, key) for key in keys]),
            np.array(hashes, np.uint32),
            np.array([mark.group for mark in marks], np.uint64),
            np.array([mark.official for mark in marks], np.uint8),
            np.array([mark.time for mark in marks], np.float64),
            shingled(keys) if self._spec.data.near_duplicates.enabled else None,
        )

    def _decide(self) -> None:
        assert self._rows is not None
        view = self._indexes.view(self._spec)
        found = resolve(self._rows, view, self._spec.data, self._room())
        with ExitStack() as unless_whole:
            part = unless_whole.enter_context(scratch_file(self._folder))
            index = unless_whole.enter_context(scratch_file(self._folder))
            measured = write_part(part, self._accepted(found), self._shape, self._schema)
            write_segment(index, segment_of(self._rows, found, self._spec.name, view.bands))
            unless_whole.pop_all()
        conflicts = int(found.conflicting.sum())
        statistics = {**measured.statistics, **({"conflicts": conflicts} if conflicts else {})}
        self._decided = _Decided(view, found, part, index, dict(measured.splits), statistics)

    def _accepted(self, found: Resolved) -> Iterator[pa.RecordBatch]:
        start, accepted = 0, found.accepted
        for chunk in self._spool.read():
            end = start + chunk.num_rows
            mask = accepted[start:end]
            kept = chunk.filter(pa.array(mask))
            columns = {name: kept[name] for name in kept.schema.names}
            columns["split"] = side_column(found.sides[start:end][mask])
            columns["cluster"] = name_column(found.clusters[start:end][mask])
            yield pa.RecordBatch.from_arrays([columns[name] for name in self._shape.names], schema=self._shape)
            start = end

    def _count(self, outcome: Outcome) -> int:
        return int((self._decision.found.outcomes == outcome).sum())


class _Decided(NamedTuple):
    view: View
    found: Resolved
    part: IO[bytes]
    segment: IO[bytes]
    splits: dict[str, int]
    statistics: Statistics

    def close(self) -> None:
        self.part.close()
        self.segment.close()


def _fields(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {name: row[name] for name in columns if row[name] is not None}
