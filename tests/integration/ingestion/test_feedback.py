"""Feedback through the real gRPC door."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from sqlalchemy import func, select

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.tables import Batch, Feedback
from tests.integration.ingestion.door import SENTIMENT, Door, declare, struct, tweets


def give(door: Door, pipeline: str = "sentiment", input: dict[str, Any] | None = None, **fields: Any) -> pb.Feedback:
    given = {"request_id": "req-1", "model_version": 3, "output": "negative", **fields}
    request = pb.RecordFeedbackRequest(pipeline=pipeline, input=struct(input or {}), **given)
    kept: pb.Feedback = door.stub.RecordFeedback(request, timeout=20)
    return kept


def test_a_correction_with_consent_becomes_a_row_of_the_next_version(door: Door) -> None:
    door.append(tweets(20), "a")
    door.build()
    kept = give(door, input={"text": "not bad at all"}, correction="positive", consent=True)
    assert kept.batch.source == "feedback"
    assert kept.batch.batch_key.startswith("feedback-req-1-")
    assert door.build() == 2
    (row,) = door.rows(batches=[kept.batch.id])
    assert dict(row.fields) == {"text": "not bad at all", "label": "positive"}


def test_a_corrected_reply_ends_the_conversation(door: Door) -> None:
    asked = [{"role": "user", "content": "When do you open?"}]
    give(door, "support", {"messages": asked}, correction="At nine.", consent=True)
    give(door, "support", {"prompt": "Where?"}, correction="Here.", consent=True, request_id="req-2")
    door.build("support")
    rows = [MessageToDict(row.fields) for row in door.rows("support")]
    stored = [[turn["content"] for turn in row["messages"]] for row in rows]
    assert sorted(stored) == [["When do you open?", "At nine."], ["Where?", "Here."]]


def test_feedback_works_where_the_product_has_other_field_names(door: Door) -> None:
    fields = {"text": "tweet.body", "label": "text"}
    declare(door.database, {**SENTIMENT, "name": "mapped", "data": {"fields": fields}})
    give(door, "mapped", {"text": "fine"}, correction="positive", consent=True)
    door.build("mapped")
    assert dict(door.rows("mapped")[0].fields) == {"text": "fine", "label": "positive"}


def test_the_same_feedback_twice_is_kept_once(door: Door) -> None:
    first, again = (give(door, input={"text": "a"}, correction="neutral", consent=True) for _ in range(2))
    assert (again.id, again.batch.id) == (first.id, first.batch.id)
    assert give(door, rating=1.0).id != first.id
    assert counts(door) == (2, 1)


def test_the_same_feedback_from_many_threads_at_one_moment_is_kept_once(door: Door) -> None:
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(lambda _: give(door, input={"text": "a"}, correction="neutral", consent=True), range(8)))
    assert len({(feedback.id, feedback.batch.id) for feedback in kept}) == 1
    assert counts(door) == (1, 1)


def test_without_consent_nothing_is_trained_on(door: Door) -> None:
    assert not give(door, input={"text": "a"}, correction="neutral").HasField("batch")
    assert not give(door, correction="positive").HasField("batch")
    assert not give(door, rating=-1).HasField("batch")
    assert counts(door) == (3, 0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": {"text": "a"}, "correction": "great", "consent": True}, "negative, neutral, positive"),
        ({"correction": "positive", "consent": True}, "input.text"),
        ({"correction": " "}, "correction is empty"),
        ({"input": {"text": "x" * 70_000}, "correction": "positive", "consent": True}, "65536"),
        ({"rating": 2.0}, "rating"),
        ({"rating": float("nan")}, "rating"),
        ({}, "needs a rating"),
        ({"rating": 1.0, "request_id": ""}, "request_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_feedback_that_can_not_be_right_is_refused(door: Door, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        give(door, **fields)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(refused.value.details())
    assert counts(door) == (0, 0)


def test_feedback_for_an_unknown_pipeline_is_not_found(door: Door) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        give(door, "sentimant", rating=1.0)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def counts(door: Door) -> tuple[int, int]:
    with door.database.read() as session:
        feedback = session.scalar(select(func.count()).select_from(Feedback)) or 0
        return feedback, session.scalar(select(func.count()).select_from(Batch)) or 0
