"""Batches through the real gRPC door."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from sqlalchemy import func, select

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.tables import Batch, QuarantinedRow
from tests.integration.ingestion.door import SENTIMENT, Door, append_requests, declare, lines, struct, tweets
from tests.support.wait import eventually


def test_a_batch_of_rows_is_counted_split_and_announced(door: Door) -> None:
    batch = door.append(tweets(400), "first")
    assert batch.state == pb.BATCH_STATE_ACCEPTED
    assert (batch.received, batch.accepted, batch.duplicates, batch.quarantined) == (400, 400, 0, 0)
    assert batch.splits.train + batch.splits.validation + batch.splits.test == 400
    assert 30 <= batch.splits.test <= 90
    assert 15 <= batch.splits.validation <= 65
    assert len(door.messages("ingestion.build_dataset_version")) == 1


def test_rows_may_come_many_in_a_message(door: Door) -> None:
    def requests() -> Iterator[pb.AppendRowsRequest]:
        yield pb.AppendRowsRequest(header=pb.BatchHeader(pipeline="sentiment", batch_key="chunked"))
        for start in range(0, 300, 100):
            yield pb.AppendRowsRequest(rows=pb.RowChunk(rows=map(struct, tweets(100, start))))

    assert door.stub.AppendRows(requests(), timeout=20).accepted == 300


def test_the_same_rows_give_the_same_sides_and_ids_by_file_and_by_stream(door: Door) -> None:
    by_stream = door.append(tweets(50), "stream")
    again = door.upload(lines(tweets(60)), "file")
    assert (again.received, again.accepted, again.duplicates) == (60, 10, 50)
    assert by_stream.accepted == 50


def test_duplicates_inside_a_batch_are_dropped(door: Door) -> None:
    batch = door.append([*tweets(20), *tweets(20), *tweets(5)], "doubled")
    assert (batch.accepted, batch.duplicates) == (20, 25)


def test_a_batch_of_known_rows_only_is_accepted_and_starts_nothing(door: Door) -> None:
    door.append(tweets(5), "first")
    batch = door.append(tweets(5), "second")
    assert (batch.state, batch.accepted, batch.duplicates) == (pb.BATCH_STATE_ACCEPTED, 0, 5)
    assert len(door.messages("ingestion.build_dataset_version")) == 1


def test_the_same_key_gives_the_first_answer_and_changes_nothing(door: Door) -> None:
    first = door.append(tweets(10), "key")
    again = door.append(tweets(30), "key")
    assert not first.repeated_call
    assert again.repeated_call
    again.repeated_call = False
    assert again == first
    assert len(door.stored_parts()) == 1


def test_ten_clients_with_one_key_at_one_moment_make_one_batch(door: Door) -> None:
    start = threading.Barrier(10)

    def send(_: int) -> pb.Batch:
        start.wait()
        return door.append(tweets(300), "same")

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(10)))
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.repeated_call for answer in answers) == [False] + [True] * 9
    assert [answer.accepted for answer in answers] == [300] * 10
    assert count(door, Batch) == 1
    assert len(door.stored_parts()) == 1


def test_batches_at_one_moment_with_common_rows_bring_each_row_once(door: Door) -> None:
    start = threading.Barrier(6)

    def send(number: int) -> pb.Batch:
        start.wait()
        return door.append(tweets(500, start=100 * number), f"batch-{number}")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert sum(answer.accepted for answer in answers) == 1000
    assert all(answer.accepted + answer.duplicates == 500 for answer in answers)
    assert door.build() == 1
    rows = door.rows()
    assert len(rows) == len({row.id for row in rows}) == 1000


def test_a_stream_that_is_cut_leaves_nothing(door: Door) -> None:
    sent = threading.Event()
    never = threading.Event()

    def requests() -> Iterator[pb.AppendRowsRequest]:
        yield from append_requests(tweets(5000), "cut")
        sent.set()
        never.wait(10)

    call = door.stub.AppendRows.future(requests(), timeout=20)
    assert sent.wait(10)
    call.cancel()
    never.set()
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    whole = door.append(tweets(5000), "cut")
    assert (whole.accepted, whole.repeated_call) == (5000, False)
    eventually(lambda: not any(door.settings.home.joinpath("ingestion").iterdir()))
    assert count(door, Batch) == 1
    assert len(door.stored_parts()) == 1


@pytest.mark.parametrize(
    ("header", "rows", "word"),
    [
        ({"pipeline": "sentiment", "batch_key": "x"}, [], "no rows"),
        ({"pipeline": "sentiment", "batch_key": ""}, [{"text": "a"}], "batch_key"),
        ({"pipeline": "sentiment", "batch_key": "a\nb"}, [{"text": "a"}], "printable"),
        ({"pipeline": "sentiment", "batch_key": "k" * 300}, [{"text": "a"}], "256"),
    ],
)
def test_a_batch_that_can_not_be_right_is_refused(
    door: Door, header: dict[str, str], rows: list[dict[str, Any]], word: str
) -> None:
    requests = [pb.AppendRowsRequest(header=pb.BatchHeader(**header))]
    requests += [pb.AppendRowsRequest(row=struct(row)) for row in rows]
    with pytest.raises(grpc.RpcError) as refused:
        door.stub.AppendRows(iter(requests), timeout=20)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert word in str(refused.value.details())
    assert count(door, Batch) == 0


def test_a_stream_without_a_header_is_refused(door: Door) -> None:
    for requests in ([], [pb.AppendRowsRequest(row=struct({"text": "a"}))]):
        with pytest.raises(grpc.RpcError, match="first message of the stream must be the header"):
            door.stub.AppendRows(iter(requests), timeout=20)


def test_a_second_header_is_refused_and_nothing_is_kept(door: Door) -> None:
    requests = [*append_requests(tweets(3), "twice"), *append_requests(tweets(3), "twice")]
    with pytest.raises(grpc.RpcError, match="header came twice"):
        door.stub.AppendRows(iter(requests), timeout=20)
    assert count(door, Batch) == 0


def test_an_unknown_pipeline_is_not_found_and_the_nearest_is_named(door: Door) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        door.append(tweets(3), "x", pipeline="sentimant")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert "'sentiment'" in str(refused.value.details())


def test_bad_rows_go_to_quarantine_and_never_fail_the_batch(door: Door) -> None:
    rows = [*tweets(3), {"text": "good", "label": "positve"}, {"label": "neutral"}, {"text": " ", "label": "neutral"}]
    batch = door.append(rows, "mixed")
    assert (batch.accepted, batch.quarantined) == (3, 3)
    reasons = {reason.reason: reason.rows for reason in batch.quarantine_reasons}
    assert reasons == {"UNKNOWN_LABEL": 1, "MISSING_FIELD": 1, "EMPTY_TEXT": 1}
    kept = door.quarantine(batch)
    assert [(row.line, row.reason, row.field) for row in kept] == [
        (4, "UNKNOWN_LABEL", "label"),
        (5, "MISSING_FIELD", "text"),
        (6, "EMPTY_TEXT", "text"),
    ]
    assert "'positive'" in kept[0].message
    assert '"positve"' in kept[0].raw


def test_a_batch_of_bad_rows_only_is_rejected_and_makes_no_version(door: Door) -> None:
    batch = door.append(tweets(4, label="angry"), "all-bad")
    assert batch.state == pb.BATCH_STATE_REJECTED
    assert "UNKNOWN_LABEL" in batch.reason
    assert count(door, QuarantinedRow) == 4
    assert not door.messages("ingestion.build_dataset_version")
    assert door.build() is None


def test_a_product_keeps_its_own_field_names(door: Door) -> None:
    fields = {"text": "tweet.body", "label": "mood"}
    declare(door.database, {**SENTIMENT, "name": "mapped", "labels": None, "data": {"fields": fields}})
    batch = door.append([{"tweet": {"body": "hello"}, "mood": 3}, {"tweet": "x", "mood": 1}], "a", pipeline="mapped")
    assert (batch.accepted, batch.quarantined) == (1, 1)
    assert "the product's tweet.body" in door.quarantine(batch)[0].message
    door.build("mapped")
    assert dict(door.rows("mapped")[0].fields) == {"text": "hello", "label": "3"}


def test_a_row_longer_than_the_limit_is_named_with_the_limit(door: Door) -> None:
    batch = door.append([{"text": "x" * 70_000, "label": "neutral"}, *tweets(1)], "long")
    assert (batch.accepted, batch.quarantined) == (1, 1)
    kept = door.quarantine(batch)[0]
    assert (kept.reason, len(kept.raw)) == ("ROW_TOO_LONG", 4096)
    assert "65536" in kept.message


def count(door: Door, table: type) -> int:
    with door.database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def changed_before_the_commit(door: Door, monkeypatch: pytest.MonkeyPatch, **spec: Any) -> None:
    publish = door.rooms.parts.publish

    def change_first(*arguments: Any) -> Any:
        declare(door.database, {**SENTIMENT, **spec})
        return publish(*arguments)

    monkeypatch.setattr(door.rooms.parts, "publish", change_first)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"retention": {"versions": 3}}},
        {"data": {"sources": [{"name": "drop", "uri": "/srv/drop"}]}},
        {"data": {"licence": "MIT"}},
        {"trigger": {"new_rows": 7}},
    ],
    ids=lambda change: str(change),
)
def test_a_change_of_the_pipeline_that_no_row_depends_on_does_not_end_a_batch(
    door: Door, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    changed_before_the_commit(door, monkeypatch, **change)
    batch = door.append(tweets(5), "meanwhile")
    assert (batch.accepted, batch.licence) == (5, change.get("data", {}).get("licence", "")), "as it is at the commit"


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["positive", "negative"]},
        {"options": {"multi_label": True}},
        {"data": {"fields": {"text": "body"}}},
        {"data": {"splits": {"test": 0.3}}},
        {"data": {"cleaning": {"html": True}}},
        {"data": {"caps": {"per_source": 2}}},
        {"data": {"near_duplicates": {"threshold": 0.7}}},
    ],
    ids=lambda change: str(change),
)
def test_a_change_of_the_pipeline_that_rows_depend_on_ends_a_batch_of_which_nothing_stays(
    door: Door, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    changed_before_the_commit(door, monkeypatch, **change)
    with pytest.raises(grpc.RpcError) as refused:
        door.append(tweets(5), "meanwhile")
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert count(door, Batch) == 0
    assert door.stored_files() == []
