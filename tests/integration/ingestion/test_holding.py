"""Held and released batches, through the real gRPC door and by message."""

import threading

import grpc
import pytest
from sqlalchemy import select

from services.ingestion.handlers import handlers
from shared.contracts.codec import decode
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.messages import HoldBatches
from shared.contracts.routes import BUILD_DATASET_VERSION, HOLD_BATCHES
from shared.messaging.handler import HandlerContext
from shared.storage.tables import AuditEntry
from tests.integration.ingestion.door import Door, tweets
from tests.integration.ingestion.test_versions import sum_of


def hold(door: Door, batch: pb.Batch) -> pb.Batch:
    answer: pb.Batch = door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id, reason="labels look flipped"))
    return answer


def release(door: Door, batch: pb.Batch) -> pb.Batch:
    answer: pb.Batch = door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id, reason="looked at it"))
    return answer


def test_a_held_batch_is_left_out_of_the_next_version(door: Door) -> None:
    good, bad = door.append(tweets(30), "good"), door.append(tweets(30, start=30), "bad")
    door.build()
    held = hold(door, bad)
    assert (held.state, held.reason) == (pb.BATCH_STATE_HELD, "labels look flipped")
    assert door.build() == 2
    version = door.version()
    assert (list(version.batches), sum_of(version), version.new_rows) == ([good.id], 30, 0)
    assert len(door.rows(version=1)) == 60


def test_holding_the_only_batch_seals_an_empty_version(door: Door) -> None:
    batch = door.append(tweets(10), "a")
    door.build()
    hold(door, batch)
    assert door.build() == 2
    assert (sum_of(door.version()), door.rows()) == (0, [])


def test_holding_and_releasing_twice_is_as_good_as_once(door: Door) -> None:
    batch = door.append(tweets(10), "a")
    assert hold(door, batch) == hold(door, batch)
    assert release(door, batch) == release(door, batch)
    with door.database.read() as session:
        acts = list(session.scalars(select(AuditEntry.action)))
    assert acts == ["hold_batch", "release_batch"]


def test_good_copies_of_held_rows_can_come_in(door: Door) -> None:
    hold(door, door.append(tweets(10), "bad"))
    copies = door.append(tweets(10), "good")
    assert (copies.accepted, copies.duplicates) == (10, 0)


def test_a_released_batch_never_judges_and_brings_no_row_twice(door: Door) -> None:
    batch = door.append(tweets(200), "a")
    assert batch.splits.test > 0
    hold(door, batch)
    door.append(tweets(50), "copies")
    released = release(door, batch)
    assert (released.state, released.accepted, released.duplicates) == (pb.BATCH_STATE_ACCEPTED, 150, 50)
    assert door.build() == 1
    rows = door.rows()
    assert len({row.id for row in rows}) == len(rows) == sum_of(door.version())
    assert not [row for row in rows if row.batch == batch.id and row.split == "test"]
    assert [row for row in rows if row.batch != batch.id and row.split == "test"]


def test_a_batch_released_before_any_build_still_changes_the_version(door: Door) -> None:
    batch = door.append(tweets(100), "a")
    assert door.build() == 1
    hold(door, batch)
    release(door, batch)
    assert door.build() == 2
    assert not door.rows(split="test")
    assert len(door.rows(version=1)) == 100


def test_a_rejected_batch_can_be_neither_held_nor_released(door: Door) -> None:
    batch = door.append(tweets(3, label="angry"), "bad")
    for act in (hold, release):
        with pytest.raises(grpc.RpcError) as refused:
            act(door, batch)
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_the_gate_holds_batches_by_message_and_twice_is_as_good_as_once(door: Door) -> None:
    good, bad = door.append(tweets(30), "good"), door.append(tweets(30, start=30), "bad")
    door.build()
    message = HoldBatches(
        pipeline="sentiment", batches=[bad.id, "batch-unknown"], reason="worse than the champion", report="report-1"
    )
    context = HandlerContext("msg-1", threading.Event(), door.database)
    for _ in range(2):
        handlers(door.rooms)[HOLD_BATCHES](message, context)
    held = door.stub.GetBatch(pb.GetBatchRequest(id=bad.id))
    assert (held.state, held.reason) == (pb.BATCH_STATE_HELD, "worse than the champion (report report-1)")
    for asked in door.messages("ingestion.build_dataset_version"):
        handlers(door.rooms)[BUILD_DATASET_VERSION](decode(asked.task, asked.payload).message, context)
    assert door.version().version == 2
    assert list(door.version().batches) == [good.id]
