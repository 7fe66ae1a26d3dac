"""Rows are deleted by id and by source, through the real gRPC door."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pyarrow.parquet as pq
import pytest
from google.protobuf.json_format import MessageToDict
from sqlalchemy import func, select

from services.ingestion.deleting.deleting import Deleter
from services.ingestion.deleting.finding import Finder
from services.ingestion.deleting.rewriting import Rewriter
from services.ingestion.index.indexes import _Index
from services.ingestion.index.segment import Segment
from services.ingestion.rooms import Rooms
from services.ingestion.storing.sweeping import Sweeper
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import DataCorrupted, Unavailable
from shared.rows.base import row_id
from shared.storage.repositories import deletions
from shared.storage.repositories.row_index import Entry
from shared.storage.tables import AuditEntry, Batch, Deletion, Feedback, Job, ModelVersion, QuarantinedRow
from tests.integration.ingestion.door import SENTIMENT, Door, declare, tweets
from tests.integration.ingestion.test_versions import sum_of


def delete(
    door: Door, *rows: str, sources: tuple[str, ...] = (), reason: str = "the author asked for it"
) -> pb.Deletion:
    request = pb.DeleteRowsRequest(pipeline="sentiment", rows=rows, sources=sources, reason=reason)
    answer: pb.Deletion = door.stub.DeleteRows(request, timeout=30)
    return answer


def test_a_deleted_row_is_in_no_version_that_can_be_read_and_in_no_file(door: Door) -> None:
    first, second = door.append(tweets(30), "a"), door.append(tweets(30, start=30), "b")
    door.build()
    row = next(one for one in door.rows() if one.batch == second.id)
    answer = delete(door, row.id)
    assert (answer.rows, list(answer.batches), list(answer.dataset_versions)) == (1, [second.id], [1])
    assert not answer.unknown
    expired = door.version(1)
    assert expired.state == pb.DATASET_VERSION_STATE_EXPIRED
    assert (sum_of(expired), "rows of it were deleted" in expired.reason) == (60, True)
    with pytest.raises(grpc.RpcError, match=r"is expired, not sealed: rows of it were deleted") as refused:
        door.rows(version=1)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert door.build() == 2
    left = {one.id for one in door.rows()}
    assert (len(left), row.id in left) == (59, False)
    assert (door.version(2).parent, door.version(2).new_rows) == (1, 0)
    assert door.stub.GetBatch(pb.GetBatchRequest(id=second.id)).accepted == 29
    assert not holding(door, row.id)
    assert [name for name in stored(door) if name.startswith(first.id)]


def test_journals_of_other_batches_forget_a_deleted_row(door: Door) -> None:
    door.append(tweets(10), "a")
    copies = door.append(tweets(12), "b")
    assert copies.duplicates == 10
    door.build()
    row = next(row for row in door.rows() if row.batch != copies.id)
    assert len(holding(door, row.id)) == 2
    assert list(delete(door, row.id).batches) != [copies.id]
    assert not holding(door, row.id)
    assert door.stub.GetBatch(pb.GetBatchRequest(id=copies.id)).accepted == 2
    assert door.build() == 2
    assert len(door.rows()) == 11


@pytest.fixture
def opened(door: Door, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Batches whose parts a deletion looked into."""
    seen: set[str] = set()
    rows_in = Finder._rows_in

    def noted(finder: Finder, uri: str, heads: Any) -> dict[str, str]:
        seen.add(uri.rpartition("/")[2].partition(".")[0])
        return rows_in(finder, uri, heads)

    monkeypatch.setattr(Finder, "_rows_in", noted)
    return seen


def test_only_the_parts_that_hold_deleted_rows_are_opened(door: Door, opened: set[str]) -> None:
    sent = [door.append(tweets(10, start=10 * number), f"{number}").id for number in range(5)]
    door.build()
    ids = {batch: next(row.id for row in door.rows() if row.batch == batch) for batch in sent}
    delete(door, ids[sent[1]], ids[sent[3]][:8])
    assert opened == {sent[1], sent[3]}
    opened.clear()
    fresh = Rooms(door.settings, door.database)
    fresh.deleter.delete("sentiment", [ids[sent[4]]], [], "asked for", "operator")
    assert opened == {sent[4]}, "nor by a process that has just begun"
    opened.clear()
    assert list(delete(door, "f" * 64).unknown) == ["f" * 64]
    assert not opened


def test_a_row_of_a_batch_whose_index_is_lost_is_found_all_the_same(
    door: Door, opened: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, other = door.append(tweets(10), "a").id, door.append(tweets(10, start=10), "b").id
    door.build()
    row = next(row.id for row in door.rows() if row.batch == batch)

    def damaged(index: _Index, source: str, entry: Entry) -> Segment:
        raise DataCorrupted("neither the index nor the part can be read now")

    monkeypatch.setattr(_Index, "_banded", damaged)
    fresh = Rooms(door.settings, door.database)
    deletion, unknown = fresh.deleter.delete("sentiment", [row], [], "asked for", "operator")
    assert (deletion.batches, unknown, opened) == ([batch], [], {batch, other})


def test_a_part_that_is_damaged_is_named_and_nothing_is_deleted(door: Door) -> None:
    batch = door.append(tweets(10), "a").id
    door.build()
    row = next(iter(door.rows())).id
    (part,) = (path for path in parts_of(door).iterdir() if path.suffix == ".parquet")
    part.write_bytes(b"no Parquet file")
    for call in (
        lambda: delete(door, row),
        lambda: door.stub.ExplainRow(pb.ExplainRowRequest(pipeline="sentiment", row=row)),
    ):
        with pytest.raises(
            grpc.RpcError, match=rf"the part .*{batch}.* can't be read: .*; put it back from a backup"
        ) as refused:
            call()
        assert refused.value.code() == grpc.StatusCode.DATA_LOSS
    with door.database.read() as session:
        assert not session.scalars(select(Deletion)).all()


def test_a_deleted_row_that_is_sent_again_is_a_new_row(door: Door) -> None:
    door.append(tweets(20), "a")
    door.build()
    gone = next(row for row in door.rows() if row.fields["text"] == "tweet number 7")
    delete(door, gone.id)
    again = door.append(tweets(20), "b")
    assert (again.accepted, again.duplicates) == (1, 19)
    door.build()
    assert [row.batch for row in door.rows() if row.id == gone.id] == [again.id]


def test_a_label_is_corrected_by_deleting_the_row_and_sending_it_again_and_its_side_stays(door: Door) -> None:
    declare(door.database, {**SENTIMENT, "data": {"conflicts": "reject"}})
    door.append(tweets(40, label="positive"), "a")
    door.build()
    wrong = {row.split: row for row in door.rows()}
    corrected = [{"text": row.fields["text"], "label": "negative"} for row in wrong.values()]
    assert door.append(corrected, "too early").quarantined == len(wrong)
    delete(door, *(row.id for row in wrong.values()))
    assert door.append(corrected, "in time").accepted == len(wrong)
    door.build()
    now = {row.fields["text"]: row for row in door.rows()}
    assert len(now) == 40
    for side, row in wrong.items():
        assert (now[row.fields["text"]].split, now[row.fields["text"]].fields["label"]) == (side, "negative")


def test_a_source_is_deleted_with_all_that_quoted_it(door: Door) -> None:
    kept = door.append(tweets(10), "a", source="app")
    gone = door.append([*tweets(10, start=10), {"text": "secret", "label": "angry"}], "b", source="partner")
    rejected = door.append([{"text": "another secret", "label": "angry"}], "c", source="partner")
    door.build()
    answer = delete(door, sources=("partner",))
    assert (answer.rows, list(answer.batches)) == (10, sorted([gone.id, rejected.id]))
    with door.database.read() as session:
        assert session.scalar(select(func.count()).select_from(QuarantinedRow)) == 0
    assert door.build() == 2
    assert {row.batch for row in door.rows()} == {kept.id}
    assert MessageToDict(door.version().statistics)["sources"] == {"app": 10}
    assert delete(door, sources=("partner",)).id == answer.id


def test_words_of_feedback_go_with_the_rows_that_they_made(door: Door) -> None:
    request = pb.RecordFeedbackRequest(
        pipeline="sentiment", request_id="r-1", output="positive", correction="negative", comment="mine", consent=True
    )
    request.input.update({"text": "what a day"})
    door.stub.RecordFeedback(request)
    door.build()
    (row,) = door.rows()
    delete(door, row.id)
    with door.database.read() as session:
        kept = session.scalars(select(Feedback)).one()
    assert (kept.output, kept.correction, kept.comment) == ("", None, deletions.GONE)
    assert door.build() == 2
    assert door.rows() == []


def test_model_versions_that_saw_the_rows_are_named_and_those_that_went_on_from_them(door: Door) -> None:
    door.append(tweets(40), "a")
    door.build()
    door.append(tweets(40, start=40), "b")
    door.build()
    with door.database.write() as session:
        for version, dataset, started_from in ((1, 1, None), (2, 2, None), (3, 1, 2), (4, 1, None)):
            session.add(model_version(version, dataset, started_from))
    row = next(one for one in door.rows() if one.split == "train" and one.batch != door.rows(version=1)[0].batch)
    assert list(delete(door, row.id).model_versions) == [2, 3]


def test_a_test_row_taught_no_model(door: Door) -> None:
    door.append(tweets(60), "a")
    door.build()
    with door.database.write() as session:
        session.add(model_version(1, 1, None))
    answer = delete(door, door.rows(split="test")[0].id)
    assert (list(answer.model_versions), list(answer.dataset_versions)) == ([], [1])


def test_a_copy_in_a_version_of_old_goes_too_though_its_batch_lost_it_long_ago(door: Door) -> None:
    """A batch that was held and released without a row that another one brought meanwhile."""
    batch = door.append(tweets(20), "a")
    door.build()
    row = door.rows()[0]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id))
    copy = door.append([{"text": row.fields["text"], "label": row.fields["label"]}], "b")
    door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id))
    door.build()
    assert [one.batch for one in door.rows() if one.id == row.id] == [copy.id]
    answer = delete(door, row.id)
    assert (answer.rows, list(answer.dataset_versions)) == (1, [1, 2])
    assert not holding(door, row.id)


def test_rows_of_held_batches_are_deleted_as_well(door: Door) -> None:
    batch = door.append(tweets(20), "a")
    door.build()
    row = door.rows()[0]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id))
    door.build()
    delete(door, row.id)
    assert door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id)).accepted == 19


def test_a_release_does_not_bring_back_a_row_that_is_deleted_meanwhile(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = door.append(tweets(20), "a")
    door.build()
    row = door.rows()[0]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id))
    let_in = door.rooms.holding._let_in

    def late(*given: Any) -> Batch:
        delete(door, row.id)
        return let_in(*given)

    monkeypatch.setattr(door.rooms.holding, "_let_in", late)
    with pytest.raises(grpc.RpcError, match="deleted meanwhile; ask again"):
        door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id))
    monkeypatch.undo()
    assert door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id)).accepted == 19
    door.rooms.parts.sweep(stale_seconds=-60)
    assert not holding(door, row.id)


def test_deleting_again_changes_nothing_and_unknown_rows_are_told(door: Door) -> None:
    door.append(tweets(10), "a")
    door.build()
    row = door.rows()[0]
    once = delete(door, row.id, "f" * 64)
    assert list(once.unknown) == ["f" * 64]
    assert delete(door, row.id).id == once.id
    assert delete(door, "e" * 64).id == ""
    with door.database.read() as session:
        kept = session.scalars(select(Deletion)).one()
        acts = list(session.scalars(select(AuditEntry.action)))
    assert row.id not in str(kept.digests)
    assert (kept.reason, kept.digests) == ("the author asked for it", [deletions.mark(row.id)])
    assert acts == ["expire_dataset_version", "delete_rows"]


def test_the_first_characters_of_an_id_are_enough_when_they_mean_one_row(door: Door) -> None:
    door.append(tweets(10), "a")
    door.build()
    assert delete(door, door.rows()[0].id[:12]).rows == 1


def test_what_can_not_be_meant_is_refused(door: Door) -> None:
    door.append(tweets(3), "a")
    cases: list[tuple[tuple[str, ...], tuple[str, ...], str, str]] = [
        ((), (), "why", "name what is to be deleted"),
        (("abc",), (), "why", "is no row id"),
        (("../../../etc",), (), "why", "is no row id"),
        (("a" * 64,), (), " ", "reason is empty"),
        ((), ("nowhere",), "why", "has the source 'nowhere'"),
    ]
    for rows, sources, reason, message in cases:
        with pytest.raises(grpc.RpcError, match=message):
            delete(door, *rows, sources=sources, reason=reason)


@pytest.mark.parametrize("killed_at", ["part", "journal", "commit", "sweep"])
def test_a_deletion_that_is_killed_is_done_or_left_no_trace(
    door: Door, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    door.append(tweets(20), "a")
    door.build()
    row, before = door.rows()[0], stored(door)
    kill(monkeypatch, killed_at)
    with pytest.raises(KeyboardInterrupt):
        door.rooms.deleter.delete("sentiment", [row.id], [], "asked for", "tests")
    monkeypatch.undo()
    if killed_at != "sweep":
        assert door.build() is None
        assert len(door.rows()) == 20
    door.rooms.parts.sweep(stale_seconds=-60)
    if killed_at != "sweep":
        assert stored(door) == before
    delete(door, row.id)
    assert door.build() == 2
    assert len(door.rows()) == 19
    assert not holding(door, row.id)


def kill(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    places: dict[str, tuple[type, str]] = {
        "part": (Rewriter, "_store"),
        "journal": (Rewriter, "journal"),
        "commit": (Deleter, "_commit"),
        "sweep": (Sweeper, "remove"),
    }
    if at in ("part", "journal", "commit"):
        monkeypatch.setattr(Deleter, "_sweep", lambda *_: None)
    monkeypatch.setattr(*places[at], die)


def test_a_deletion_whose_commit_failed_takes_its_files_back(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.append(tweets(20), "a")
    door.build()
    row, before = door.rows()[0], stored(door)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Deleter, "_commit", away)
        with pytest.raises(grpc.RpcError, match="does not answer"):
            delete(door, row.id)
    assert stored(door) == before
    assert len(door.rows()) == 20


def test_files_of_an_expired_version_stay_while_a_job_reads_them(door: Door) -> None:
    door.append(tweets(20), "a")
    door.build()
    with door.database.write() as session:
        session.add(job("job-1", 1, "running"))
    row, before = door.rows()[0], stored(door)
    delete(door, row.id)
    parts = {name: content for name, content in before.items() if name.endswith(".parquet")}
    assert parts.items() <= stored(door).items()
    with door.database.write() as session:
        session.get_one(Job, "job-1").state = "succeeded"
    door.rooms.parts.sweep(stale_seconds=-60)
    assert not before.keys() & stored(door).keys()


def test_a_version_that_is_being_built_is_not_sealed_with_a_deleted_row(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.append(tweets(20), "a")
    gone = row_id("classification", "negative", "tweet number 0")
    seal: Callable[..., bool] = door.rooms.builder._seal
    seen: list[str] = []

    def slow(*given: object) -> bool:
        if not seen:
            seen.append(gone)
            delete(door, gone)
        return seal(*given)

    monkeypatch.setattr(door.rooms.builder, "_seal", slow)
    assert door.build() == 1
    assert gone not in {row.id for row in door.rows()}
    assert sum_of(door.version()) == 19


def holding(door: Door, row_id: str) -> list[str]:
    """Files that hold a row, whichever column it stands in."""
    folder = Path(door.settings.resolved_artifacts_url) / "datasets" / "sentiment" / "parts"
    found = []
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        if any(row_id in table[name].to_pylist() for name in ("row_id", "other") if name in table.column_names):
            found.append(path.name)
    return found


def stored(door: Door) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in parts_of(door).iterdir() if path.is_file()}


def parts_of(door: Door) -> Path:
    return Path(door.settings.resolved_artifacts_url) / "datasets" / "sentiment" / "parts"


def model_version(version: int, dataset_version: int, started_from: int | None) -> ModelVersion:
    return ModelVersion(
        model="sentiment",
        version=version,
        state="superseded",
        kind="classification",
        method="full",
        base="base",
        base_digest="0",
        weights_uri="models/x",
        weights_digest="0",
        job=f"job-{version}",
        run=f"run-{version}",
        dataset_version=dataset_version,
        started_from=started_from,
        created_at=datetime.now(UTC),
    )


def job(id: str, dataset_version: int, state: str) -> Job:
    return Job(
        id=id,
        pipeline="sentiment",
        dataset_version=dataset_version,
        spec={},
        device="cpu",
        state=state,
        max_attempts=3,
        trigger="manual",
        created_at=datetime.now(UTC),
    )
