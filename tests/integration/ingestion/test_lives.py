"""The life of a row, asked for at the real gRPC door."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from shared.cli.main import execute
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.tables import ModelVersion
from tests.integration.ingestion.door import SENTIMENT, Door, declare, tweets

FIRST_EVENTS = ("received", "masked", "split", "accepted")
FIRST = {"text": "写信给 li@qq.com，谢谢", "label": "positive"}


def life(door: Door, row: str, pipeline: str = "sentiment") -> pb.RowLife:
    answer: pb.RowLife = door.stub.ExplainRow(pb.ExplainRowRequest(pipeline=pipeline, row=row), timeout=30)
    return answer


def events(found: pb.RowLife, *words: str) -> list[tuple[str, str, str]]:
    return [(one.event, one.subject, one.detail) for one in found.events if not words or one.event in words]


def masking(door: Door, **data: Any) -> None:
    declare(door.database, {**SENTIMENT, "data": {"personal_data": {"policy": "mask"}, **data}})


def taught(door: Door, dataset_version: int) -> None:
    with door.database.write() as session:
        session.add(
            ModelVersion(
                model="sentiment",
                version=1,
                state="trained",
                kind="classification",
                method="full",
                base="b",
                base_digest="",
                weights_uri="",
                weights_digest="",
                job="job-1",
                run="run-1",
                dataset_version=dataset_version,
                created_at=datetime.now(UTC),
            )
        )


def test_a_row_tells_where_it_came_in_what_was_done_to_it_and_where_it_went(door: Door) -> None:
    masking(door, splits={"validation": 0.0, "test": 0.0001})
    first = door.append([*tweets(3), FIRST], "a", source="web")
    second = door.append([FIRST], "b", source="app")
    door.build()
    taught(door, 1)
    row = next(one for one in door.rows() if "谢谢" in one.fields["text"])
    assert row.fields["text"] == "写信给 <EMAIL>，谢谢"
    found = life(door, row.id[:10])
    assert (found.row.id, found.row.batch, found.row.split) == (row.id, first.id, "train")
    assert dict(found.row.fields) == dict(row.fields)
    told = [one.event for one in found.events]
    assert told == [*FIRST_EVENTS, "masked", "duplicate", "sealed", "trained"]
    assert events(found, "received", "masked", "duplicate") == [
        ("received", first.id, "from web, line 4"),
        ("masked", first.id, "line 4, personal_data.email"),
        ("masked", second.id, "line 1, personal_data.email"),
        ("duplicate", second.id, "line 1, exact"),
    ]
    assert events(found, "trained") == [("trained", "1", "learnt from dataset version 1")]
    assert (list(found.dataset_versions), list(found.model_versions)) == ([1], [1])
    times = [one.at.ToDatetime() for one in found.events]
    assert times == sorted(times)
    assert not list(found.near)


def test_a_row_knows_its_near_copies_and_its_side_says_why(door: Door) -> None:
    text = "the flight was late again and nobody at the gate could tell us why, never again with this airline"
    door.append([{"text": text, "label": "negative"}, {"text": f"{text}!!", "label": "negative"}, *tweets(3)], "a")
    door.build()
    one, other = (row for row in door.rows() if row.fields["text"].startswith(text))
    assert one.split == other.split
    found = life(door, one.id)
    assert list(found.near) == [other.id]
    assert "near copies stand on one side" in events(found, "split")[0][2]


def test_a_model_that_was_only_judged_by_a_row_did_not_learn_it(door: Door) -> None:
    masking(door, splits={"validation": 0.0, "test": 0.9999})
    door.append(tweets(2), "a")
    door.build()
    taught(door, 1)
    found = life(door, door.rows()[0].id)
    assert (found.row.split, list(found.dataset_versions), list(found.model_versions)) == ("test", [1], [])


def test_holds_releases_and_deletions_are_told_and_a_deleted_row_has_no_text(door: Door) -> None:
    batch = door.append(tweets(3), "a")
    door.build()
    row = door.rows()[0]
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id, reason="looks odd"), timeout=20)
    door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=batch.id, reason="is fine"), timeout=20)
    door.stub.DeleteRows(pb.DeleteRowsRequest(pipeline="sentiment", rows=[row.id], reason="asked for"), timeout=20)
    found = life(door, row.id)
    assert not dict(found.row.fields)
    assert ("deleted", "asked for") in [(event, detail) for event, _, detail in events(found)]
    other = next(one for one in tweets(3) if one["text"] != row.fields["text"])
    door.build()
    kept = next(one for one in door.rows() if one.fields["text"] == other["text"])
    held = events(life(door, kept.id), "held", "released")
    assert held == [("held", batch.id, "looks odd"), ("released", batch.id, "is fine")]


def test_a_row_that_was_refused_after_it_was_read_is_known_as_well(door: Door) -> None:
    masking(door, caps={"per_batch": 1})
    batch = door.append(tweets(2), "a")
    refused = door.quarantine(batch)[0]
    assert (refused.line, refused.reason) == (2, "BATCH_CAP")
    accepted = door.append(tweets(2)[1:], "again")
    door.build()
    row = next(one for one in door.rows() if one.batch == accepted.id)
    assert ("quarantined", batch.id, "line 2, caps, BATCH_CAP") in events(life(door, row.id))


@pytest.mark.parametrize(
    ("row", "code", "what"),
    [
        ("abc", grpc.StatusCode.INVALID_ARGUMENT, "is no row id"),
        ("zzzzzzzzzz", grpc.StatusCode.INVALID_ARGUMENT, "is no row id"),
        ("0" * 65, grpc.StatusCode.INVALID_ARGUMENT, "is no row id"),
        ("", grpc.StatusCode.INVALID_ARGUMENT, "is no row id"),
        ("0123456789abcdef", grpc.StatusCode.NOT_FOUND, "has no row '0123456789abcdef'"),
    ],
)
def test_what_is_no_row_is_a_clear_error(door: Door, row: str, code: grpc.StatusCode, what: str) -> None:
    door.append(tweets(1), "a")
    with pytest.raises(grpc.RpcError, match=what) as refused:
        life(door, row)
    assert refused.value.code() == code
    with pytest.raises(grpc.RpcError, match="no pipeline 'nothing'"):
        life(door, "0123456789abcdef", "nothing")


def test_the_command_tells_it_to_people_and_to_programs(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "client"))
    monkeypatch.setenv("FLYWHEEL_INGESTION_ADDRESS", door.address)
    masking(door)
    batch = door.append([{"text": "[red]你是白痴 li@qq.com", "label": "negative"}], "a", source="web")
    door.build()
    row = door.rows()[0]
    assert execute(("data", "explain", "sentiment", row.id[:8])) == 0
    told = capsys.readouterr().out
    assert f"row {row.id} in {row.split}, batch {batch.id}" in told
    assert "text: [red]你是白痴 <EMAIL>" in told
    assert all(word in told for word in ("from web, line 1", "personal_data.email", "flagged", "sealed"))
    assert execute(("data", "explain", "sentiment", row.id, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["row"]["id"] == row.id
    assert [event["event"] for event in found["events"]][:2] == ["received", "masked"]
    assert execute(("data", "batches", "sentiment")) == 0
    assert "personal_data.email: 1 masked, toxic: 1 flagged" in capsys.readouterr().out
    assert execute(("data", "explain", "sentiment", "abc")) != 0
    assert "is no row id" in capsys.readouterr().err


def test_the_beginning_of_several_ids_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingestion.queries.lives.LEAST_CHARACTERS", 1)
    door.append(tweets(40), "a")
    door.build()
    heads = [row.id[0] for row in door.rows()]
    shared = next(head for head in heads if heads.count(head) > 1)
    with pytest.raises(grpc.RpcError, match=f"could be {heads.count(shared)} rows") as refused:
        life(door, shared)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
