"""A batch from its first row to its commit: all of it becomes visible in one transaction, or nothing does."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from errno import EDQUOT, EFBIG, ENOSPC
from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol, runtime_checkable

from sqlalchemy import insert
from sqlalchemy.orm import Session

from services.ingestion.index.indexes import Indexes
from services.ingestion.intake.caps import Caps, capped
from services.ingestion.intake.draft import Draft
from services.ingestion.intake.intake import Intake
from services.ingestion.intake.preview import Preview, first_rows
from services.ingestion.reading.received import Received
from services.ingestion.rules.personal.keys import KeySource, no_key
from services.ingestion.storing.parts import Overtaken, Parts, Publishable, StoredPart
from shared.contracts.messages import BuildDatasetVersion
from shared.contracts.routes import BUILD_DATASET_VERSION
from shared.errors import Aborted, InvalidArgument, ResourceExhausted, Unavailable
from shared.pipelines.schema import PipelineSpec
from shared.storage import outbox
from shared.storage.database import Database, clock
from shared.storage.ids import new_id
from shared.storage.repositories import batches, pipelines, row_index
from shared.storage.tables import Batch, QuarantinedRow
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import INGESTION_BATCH_SECONDS, INGESTION_ROWS, INGESTION_RULE_ROWS

MAX_NAME_LENGTH = 256
QUARANTINE_ROWS = 500
ABOUT_NO_ROW = ("licence", "retention", "sources")
"""Keys of the section `data` that no row of a batch depends on once its bytes are here."""
FULL = (ENOSPC, EDQUOT, EFBIG)
log = get_logger(__name__)


@dataclass(frozen=True)
class Header:
    """Whose rows these are, the client's key for them, and where they came from."""

    pipeline: str
    batch_key: str
    source: str
    licence: str = ""
    format: str = ""
    encoding: str = ""
    """As the rows turned out to be in; see `Reading`."""


@runtime_checkable
class Tells(Protocol):
    """Rows that tell what they were read in, once they were read."""

    format: str
    encoding: str


WithCommit = Callable[[Session, Batch], None]
"""Runs inside the transaction that makes a new batch visible; what it raises undoes all of it."""


def _nothing_more(session: Session, batch: Batch) -> None: ...


class Answer(NamedTuple):
    """The batch, and whether an earlier call made it."""

    batch: Batch
    repeated: bool


class Receiver:
    """Takes batches in. The same pipeline and key give the same batch, whoever sends it and how often."""

    def __init__(
        self, database: Database, parts: Parts, indexes: Indexes, folder: Path, key: KeySource = no_key
    ) -> None:
        """`key` gives the secret that hashes of personal data are keyed with."""
        self._database, self._parts, self._indexes = database, parts, indexes
        self._folder, self._key = folder, key
        folder.mkdir(parents=True, exist_ok=True)

    def receive(self, header: Header, rows: Iterable[Received], with_commit: WithCommit = _nothing_more) -> Answer:
        """Reads the rows to their end and commits them, together with what `with_commit` writes.

        Raises NotFound (no such pipeline), InvalidArgument (no rows, or a header that can't be right),
        ResourceExhausted (disk full), Aborted (the pipeline changed meanwhile), and what `rows` raises; then
        nothing is kept.
        """
        begun = monotonic()
        _check_header(header)
        with self._database.read() as session:
            spec = pipelines.spec(session, header.pipeline)
            found = batches.by_key(session, header.pipeline, header.batch_key)
        if found:
            return Answer(found, True)
        caps = Caps(self._database, spec, header.source)
        with self._taken_in(spec, rows, caps) as intake:
            answer = self._publish(_as_read(header, rows), spec, intake, caps, with_commit)
        if not answer.repeated:
            _observe(answer.batch, monotonic() - begun)
        return answer

    def preview(self, header: Header, rows: Iterable[Received]) -> Preview:
        """As `receive`, but for keeping any of it."""
        _check_header(header)
        with self._database.read() as session:
            spec, now = pipelines.spec(session, header.pipeline), clock(session)
        with self._taken_in(spec, rows, Caps(self._database, spec, header.source)) as intake:
            batch = _batch("", _as_read(header, rows), intake, intake.draft, StoredPart())
            batch.created_at = batch.updated_at = now
            return Preview(batch, first_rows(intake))

    @contextmanager
    def _taken_in(self, spec: PipelineSpec, rows: Iterable[Received], caps: Caps) -> Iterator[Intake]:
        with (
            refuse_when_full(),
            closing(Intake(spec, self._folder, self._indexes, self._key, caps.room)) as intake,
        ):
            for row in rows:
                intake.take(row)
            intake.finish()
            if not intake.received:
                raise InvalidArgument("the batch holds no rows", field="rows")
            yield intake

    def _publish(
        self, header: Header, spec: PipelineSpec, intake: Intake, caps: Caps, with_commit: WithCommit
    ) -> Answer:
        id = new_id("batch")

        def record(draft: Draft, part: StoredPart) -> Answer:
            with self._database.write() as session:
                now = _unchanged(session, spec)
                found = batches.by_key(session, header.pipeline, header.batch_key)
                if found:
                    return Answer(found, True)
                room = caps.room_in(session)
                no_room = room is not None and draft.rows > room.rows
                if no_room or draft.is_overtaken(self._indexes.view_in(session, spec)):
                    raise Overtaken
                batch = _batch(id, header, intake, draft, part)
                batch.licence = header.licence or now.data.licence
                batch.created_at = batch.updated_at = clock(session)
                row_index.changed(session, batch)
                session.add(batch)
                for chunk in chain(intake.quarantine.chunks(QUARANTINE_ROWS), _refused(draft)):
                    rows = [{"pipeline": header.pipeline, "batch": id, **row} for row in chunk]
                    session.execute(insert(QuarantinedRow), rows)
                if draft.rows:
                    outbox.put(session, BUILD_DATASET_VERSION, BuildDatasetVersion(pipeline=header.pipeline))
                with_commit(session, batch)
                return Answer(batch, False)

        return self._parts.publish(header.pipeline, id, intake.draft, record, intake.journal)


def _as_read(header: Header, rows: Iterable[Received]) -> Header:
    return replace(header, format=rows.format, encoding=rows.encoding) if isinstance(rows, Tells) else header


def _refused(draft: Draft) -> Iterator[list[dict[str, object]]]:
    """Rows that were fit, as the table of quarantined rows has them."""
    rest = draft.refused()
    while chunk := list(islice(rest, QUARANTINE_ROWS)):
        yield [{name: value for name, value in one._asdict().items() if name != "row_id"} for one in chunk]


@contextmanager
def refuse_when_full() -> Iterator[None]:
    """Turns a full disk, on whichever side, into ResourceExhausted."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _full(error.strerror or "no space left") from error
    except sqlite3.OperationalError as error:
        raise _full(str(error)) from error
    except Unavailable as error:
        if "disk is full" not in error.message:
            raise
        raise _full("the database's disk") from error


def _full(what: str) -> ResourceExhausted:
    return ResourceExhausted(f"no room to take the batch in ({what}); nothing of it was kept", retry_seconds=30)


def _check_header(header: Header) -> None:
    if not header.batch_key.strip():
        raise InvalidArgument("batch_key is empty; it makes sending a batch again harmless", field="batch_key")
    for field in ("batch_key", "source", "licence"):
        value: str = getattr(header, field)
        if len(value) > MAX_NAME_LENGTH or not value.isprintable():
            raise InvalidArgument(f"{field} must be at most {MAX_NAME_LENGTH} printable characters", field=field)


def _unchanged(session: Session, spec: PipelineSpec) -> PipelineSpec:
    """The pipeline as it is now, held until the commit, so that one batch at a time compares its rows with the index.

    Raises Aborted when what decides about rows is not what it was when they were read.
    """
    pipelines.lock(session, spec.name)
    now = pipelines.spec(session, spec.name)
    if _deciding(now) != _deciding(spec):
        raise Aborted(f"pipeline {spec.name!r} was changed while the batch came in; send it again", pipeline=spec.name)
    return now


def _deciding(spec: PipelineSpec) -> tuple[object, ...]:
    """What rows become depends on this alone."""
    return spec.kind, spec.labels, spec.options, spec.data.model_dump(exclude=set(ABOUT_NO_ROW))


def _batch(id: str, header: Header, intake: Intake, draft: Draft, part: StoredPart) -> Batch:
    reasons = dict(Counter(intake.reasons) + Counter(draft.reasons))
    quarantined = sum(reasons.values())
    rejected = quarantined == intake.received
    return Batch(
        id=id,
        pipeline=header.pipeline,
        batch_key=header.batch_key,
        source=header.source,
        state="rejected" if rejected else "accepted",
        reason=f"no row can be used; most often {_commonest(reasons)}" if rejected else "",
        received=intake.received,
        quarantined=quarantined,
        quarantine_reasons=reasons,
        rules=intake.rules + capped(reasons),
        journal_uri=part.journal_uri,
        journal_digest=part.journal_digest,
        licence=header.licence,
        format=header.format,
        encoding=header.encoding,
        **{**draft_columns(draft, part), "statistics": {**draft.statistics, **intake.statistics}},
    )


def draft_columns(draft: Publishable, part: StoredPart) -> dict[str, object]:
    """What a batch's row says about its accepted rows."""
    return {
        "accepted": draft.rows,
        "duplicates": draft.duplicates,
        "near_duplicates": draft.near_duplicates,
        **draft.splits,
        "statistics": draft.statistics,
        "part_uri": part.uri,
        "part_digest": part.digest,
        "index_uri": part.index_uri,
        "index_digest": part.index_digest,
    }


def _commonest(reasons: dict[str, int]) -> str:
    return max(reasons, key=lambda reason: reasons[reason])


def _observe(batch: Batch, seconds: float) -> None:
    outcomes = {"accepted": batch.accepted, "duplicate": batch.duplicates, "quarantined": batch.quarantined}
    for outcome, rows in outcomes.items():
        INGESTION_ROWS.labels(batch.pipeline, outcome).inc(rows)
    for one in batch.rules:
        INGESTION_RULE_ROWS.labels(batch.pipeline, one["rule"], one["action"]).inc(one["rows"])
    INGESTION_BATCH_SECONDS.labels(batch.pipeline).observe(seconds)
    log.info("batch received", batch=batch.id, pipeline=batch.pipeline, state=batch.state, **outcomes)
