"""Near copies, groups and official splits through the real gRPC door: what belongs together stands on one side."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import update

from services.ingestion.near.leaks import check_leaks
from services.ingestion.rooms import Rooms
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.pipelines.dividing import Splits
from shared.rows.splits import side
from shared.storage.database import Database
from shared.storage.datasets import Manifest, read_manifest
from shared.storage.repositories import datasets
from shared.storage.tables import Batch
from tests.integration.ingestion.door import SENTIMENT, Door, declare, open_door, tweets

PLAINT = "the parcel came three days late and the box was open so please send me a new one as soon as you can thank you"
REVIEW = "这家酒店的房间非常干净服务员也很热情早餐种类丰富位置离地铁站只有五分钟下次来还会选择这里"


def pipeline(door: Door, name: str = "sentiment", **data: Any) -> None:
    declare(door.database, {**SENTIMENT, "name": name, "data": data})


def labelled(*texts: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"text": text, "label": "neutral", **fields} for text in texts]


def sides(door: Door) -> dict[str, str]:
    return {str(row.fields["text"]): row.split for row in door.rows()}


def manifest(door: Door) -> Manifest:
    with door.database.read() as session:
        uri = datasets.get(session, "sentiment", 0).manifest_uri
    return read_manifest(door.rooms.builder._artifacts, uri)


def split_of(text: str) -> str:
    return side("sentiment", text, Splits())


def on_two_sides() -> tuple[str, str, str]:
    """Two texts that a hash puts on different sides, and one that is close to both."""
    for number in range(1000):
        words = [f"w{number}x{place}" for place in range(26)]
        left, right = " ".join(words[:22]), " ".join(words[4:])
        if split_of(left) != split_of(right):
            return left, right, " ".join(words)
    raise AssertionError("never")


@pytest.mark.parametrize("text", [PLAINT, REVIEW])
def test_near_copies_are_counted_and_stand_on_one_side(door: Door, text: str) -> None:
    first = door.append(labelled(text, text + " !", "something else"), "first")
    second = door.append(labelled(text[:-1], text[1:], "nothing like it"), "second")
    assert (first.accepted, first.near_duplicates) == (3, 2)
    assert (second.accepted, second.near_duplicates) == (3, 2)
    door.build()
    found = sides(door)
    assert len({found[copy] for copy in (text, text + " !", text[:-1], text[1:])}) == 1


def test_without_near_copies_rows_stand_where_their_hash_says(door: Door) -> None:
    door.append(tweets(200), "a")
    door.build()
    assert {text: split_of(text) for text in sides(door)} == sides(door)


def test_later_near_copies_are_dropped_when_the_pipeline_says_so(door: Door) -> None:
    pipeline(door, near_duplicates={"keep": "first"})
    first = door.append(labelled(PLAINT, PLAINT + "!", "other"), "first")
    assert (first.accepted, first.duplicates, first.near_duplicates) == (2, 1, 1)
    assert door.append(labelled(PLAINT.upper() + "?"), "second").duplicates == 1


def test_near_copies_do_not_count_when_they_are_switched_off(door: Door) -> None:
    pipeline(door, near_duplicates={"enabled": False})
    batch = door.append(labelled(PLAINT, PLAINT + "!", PLAINT.upper()), "first")
    assert (batch.accepted, batch.near_duplicates) == (3, 0)
    pipeline(door, near_duplicates={"enabled": True})
    assert door.append(labelled(PLAINT + "?"), "second").near_duplicates == 1, "earlier rows are read from their part"


def test_a_row_that_would_tie_two_sides_together_goes_to_quarantine(door: Door) -> None:
    left, right, bridge = on_two_sides()
    door.append(labelled(left), "left")
    door.append(labelled(right), "right")
    batch = door.append(labelled(bridge, "something else"), "bridge")
    assert (batch.accepted, batch.quarantined) == (1, 1)
    (row,) = door.quarantine(batch)
    assert (row.line, row.reason) == (1, "BRIDGES_SPLITS")
    assert row.message.count("cluster ") == 2
    assert bridge in row.raw


def test_a_batch_of_nothing_but_bridges_is_rejected(door: Door) -> None:
    left, right, bridge = on_two_sides()
    door.append(labelled(left, right), "both")
    batch = door.append(labelled(bridge), "bridge")
    assert batch.state == pb.BATCH_STATE_REJECTED
    assert "BRIDGES_SPLITS" in batch.reason


def test_rows_of_a_group_stand_on_one_side_also_over_batches(door: Door) -> None:
    pipeline(door, splits={"group": "talk.user"})
    rows = [{**row, "talk": {"user": number % 20}} for number, row in enumerate(tweets(200))]
    door.append(rows[:90], "first")
    door.append(rows[90:], "second")
    door.build()
    found = sides(door)
    by_user = [{found[row["text"]] for row in rows if row["talk"]["user"] == user} for user in range(20)]
    assert all(len(one) == 1 for one in by_user)
    assert len(set().union(*by_user)) > 1


def test_official_splits_are_kept_and_checked(door: Door) -> None:
    pipeline(door, splits={"official": "split"})
    rows = [
        *labelled("one", PLAINT, split="test"),
        *labelled("two", PLAINT + " indeed", split="train"),
        *labelled("three", split="dev"),
        *labelled("four", split="unknown"),
        *labelled("five"),
    ]
    batch = door.append(rows, "official")
    assert (batch.accepted, batch.quarantined) == (5, 2)
    reasons = {(row.line, row.reason) for row in door.quarantine(batch)}
    assert reasons == {(4, "OFFICIAL_SPLIT_LEAKS"), (6, "WRONG_TYPE")}
    door.build()
    expected = {"one": "test", PLAINT: "test", "two": "train", "three": "validation", "five": split_of("five")}
    assert sides(door) == expected


def test_conflicting_labels_are_counted_or_refused(door: Door) -> None:
    rows = [{"text": "the same", "label": label} for label in ("positive", "negative")]
    counted = door.append(rows, "counted")
    assert counted.accepted == 2
    with door.database.read() as session:
        assert session.get_one(Batch, counted.id).statistics["conflicts"] == 2
    pipeline(door, conflicts="reject")
    refused = door.append([{"text": "The Same", "label": "neutral"}, *tweets(1)], "refused")
    assert (refused.accepted, refused.quarantined) == (1, 1)
    assert door.quarantine(refused)[0].reason == "CONFLICTING_LABEL"


def test_held_and_deleted_rows_keep_their_sides(door: Door) -> None:
    left, right, bridge = on_two_sides()
    door.append(labelled(right), "right")
    held = door.append(labelled(bridge), "bridge")
    door.stub.HoldBatch(pb.HoldBatchRequest(id=held.id, reason="looks odd"))
    again = door.append(labelled(bridge, left), "again")
    assert again.accepted == 2
    door.build()
    assert {sides(door)[text] for text in (left, right, bridge)} == {split_of(right)}
    gone = next(row for row in door.rows() if row.fields["text"] == bridge)
    door.stub.DeleteRows(pb.DeleteRowsRequest(pipeline="sentiment", rows=[gone.id], reason="asked for"))
    door.append(labelled(bridge.upper()), "copy")
    door.build()
    assert sides(door)[bridge.upper()] == split_of(right)


def test_another_process_knows_the_rows_and_so_it_does_of_batches_without_an_index(door: Door) -> None:
    door.append(labelled(PLAINT, "other"), "first")
    door.append(tweets(30), "second")
    for old in (False, True):
        if old:
            with door.database.write() as session:
                session.execute(update(Batch).values(index_uri="", index_digest="", change=0))
        door.rooms.receiver._indexes = Rooms(door.settings, door.database).receiver._indexes
        batch = door.append([*labelled(PLAINT, PLAINT + f" {old}"), *tweets(30)], f"third-{old}")
        assert (batch.accepted, batch.duplicates, batch.near_duplicates) == (1, 31, 1)


def test_a_crash_between_the_files_and_the_commit_leaves_nothing(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr("services.ingestion.intake.receiving.row_index.changed", crash)
        with pytest.raises(grpc.RpcError):
            door.append(labelled(PLAINT), "first")
    assert door.stored_files() == []
    assert door.append(labelled(PLAINT), "first").near_duplicates == 0


def test_clients_at_one_moment_bring_near_copies_to_one_side(postgres_database: Database, tmp_path: Path) -> None:
    """Two services on PostgreSQL, each with an index of its own."""
    copies = [f"{PLAINT} number{place}" for place in range(24)]
    shared = {"artifacts_url": str(tmp_path / "store")}
    with (
        open_door(postgres_database, tmp_path / "a", **shared) as one,
        open_door(postgres_database, tmp_path / "b", **shared) as two,
    ):

        def send(number: int) -> pb.Batch:
            rows = [*labelled(*copies[number::8]), *tweets(40, start=20 * number)]
            return (one, two)[number % 2].append(rows, f"batch-{number}")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        assert sum(answer.accepted for answer in answers) == len(copies) + 180
        one.build()
        report = check_leaks(one.rooms.builder._artifacts, manifest(one), None, 0.8)
        assert (report.exact, report.near, report.rows) == (0, 0, len(copies) + 180)
        assert Counter(len(text.split()) > 10 for text in sides(two))[True] == len(copies)


def test_many_clients_with_one_group_all_get_in_at_their_third_attempt(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each overtakes the others, until it keeps them waiting."""
    monkeypatch.setattr("services.ingestion.storing.parts.ATTEMPTS", 3)
    pipeline(door, splits={"group": "user"})

    def send(number: int) -> pb.Batch:
        return door.append(labelled(f"row number {number}", user="the same"), f"batch-{number}")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(12)))
    assert [answer.accepted for answer in answers] == [1] * 12
    door.build()
    assert len(set(sides(door).values())) == 1
