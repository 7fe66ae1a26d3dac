"""Dataset versions: sealed once, growing, immutable."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from services.ingestion.finding import is_part
from shared.contracts.codec import decode
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.messages import ConsiderDatasetVersion
from shared.storage.datasets import read_manifest
from shared.storage.repositories import datasets
from shared.storage.tables import DatasetVersion, OutboxMessage
from tests.integration.ingestion.door import Door, tweets


def test_a_version_holds_every_accepted_batch_and_tells_control(door: Door) -> None:
    first = door.append(tweets(40), "a", source="app")
    assert door.build() == 1
    second = door.append(tweets(40, start=20), "b", source="web")
    assert door.build() == 2
    version = door.version()
    assert (version.version, version.parent, version.new_rows) == (2, 1, 20)
    assert version.state == pb.DATASET_VERSION_STATE_SEALED
    assert list(version.batches) == [first.id, second.id]
    assert sum_of(version) == 60
    assert version.sealed_at.ToSeconds() > 0
    heard = [decode(message.task, message.payload).message for message in considered(door)]
    assert heard == [ConsiderDatasetVersion(pipeline="sentiment", version=number) for number in (1, 2)]
    assert door.stub.GetBatch(pb.GetBatchRequest(id=first.id)).dataset_version == 1
    assert door.stub.GetBatch(pb.GetBatchRequest(id=second.id)).dataset_version == 2


def test_nothing_new_makes_no_version(door: Door) -> None:
    assert door.build() is None
    door.append(tweets(10), "a")
    assert [door.build() for _ in range(3)] == [1, None, None]
    assert len(considered(door)) == 1


def test_builders_at_one_moment_seal_one_version(door: Door) -> None:
    door.append(tweets(50), "a")
    with ThreadPoolExecutor(6) as pool:
        sealed = list(pool.map(lambda _: door.build(), range(6)))
    assert sorted(sealed, key=str) == [1] + [None] * 5
    assert len(considered(door)) == 1


def test_a_builder_that_died_half_way_is_continued(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.append(tweets(10), "a")
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.builder, "_seal", killed)
        with pytest.raises(KeyboardInterrupt):
            door.build()
    assert door.version(1).state == pb.DATASET_VERSION_STATE_VALIDATING
    with pytest.raises(grpc.RpcError, match="no sealed version"):
        door.version()
    with pytest.raises(grpc.RpcError, match="not sealed"):
        door.rows(version=1)
    door.append(tweets(10, start=10), "b")
    assert door.build() == 1
    assert sum_of(door.version()) == 20
    assert door.build() is None


def test_a_version_left_half_way_for_batches_that_are_held_is_rejected(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = door.append(tweets(10), "a")
    with monkeypatch.context() as patched:
        patched.setattr(door.rooms.builder, "_seal", killed)
        with pytest.raises(KeyboardInterrupt):
            door.build()
    door.stub.HoldBatch(pb.HoldBatchRequest(id=batch.id, reason="spoiled"))
    assert door.build() is None
    assert door.version(1).state == pb.DATASET_VERSION_STATE_REJECTED


def test_a_row_never_changes_sides_and_a_version_never_changes(door: Door) -> None:
    door.append(tweets(200), "a")
    door.build()
    before = {row.id: row.split for row in door.rows(version=1)}
    digest = door.version(1).digest
    door.append(tweets(200, start=100), "b")
    door.build()
    after = {row.id: row.split for row in door.rows(version=2)}
    assert before.items() <= after.items()
    assert {row.id: row.split for row in door.rows(version=1)} == before
    assert door.version(1).digest == digest != door.version(2).digest


def test_equal_texts_with_other_labels_are_on_one_side(door: Door) -> None:
    for label in ("negative", "neutral", "positive"):
        door.append(tweets(60, label=label), label)
    door.build()
    sides: dict[str, set[str]] = {}
    for row in door.rows():
        sides.setdefault(str(row.fields["text"]), set()).add(row.split)
    assert len(sides) == 60
    assert all(len(found) == 1 for found in sides.values())


def test_rows_can_be_read_by_split_batch_and_number(door: Door) -> None:
    first = door.append(tweets(100), "a")
    door.append(tweets(100, start=100), "b")
    door.build()
    version = door.version()
    assert len(door.rows(split="test")) == version.splits.test
    assert {row.split for row in door.rows(split="validation")} == {"validation"}
    assert {row.batch for row in door.rows(batches=[first.id])} == {first.id}
    assert len(door.rows(limit=7)) == 7
    with pytest.raises(grpc.RpcError, match="split='dev'"):
        door.rows(split="dev")
    with pytest.raises(grpc.RpcError, match="has no batch"):
        door.rows(batches=["batch-0"])


def test_statistics_count_labels_lengths_sources_and_what_was_left_out(door: Door) -> None:
    door.append([*tweets(30), *tweets(10), {"text": "x" * 500, "label": "neutral"}, {"text": ""}], "a", source="app")
    door.append(tweets(9, start=30), "b", source="web")
    door.build()
    found = MessageToDict(door.version().statistics)
    per_label = {label: sum(of.get(label, 0) for of in found["labels"].values()) for label in ("neutral", "negative")}
    assert per_label == {"neutral": 14, "negative": 13}
    assert found["sources"] == {"app": 31, "web": 9}
    assert (found["duplicates"], found["quarantined"]) == (10, 1)
    assert found["quarantine_reasons"] == {"EMPTY_TEXT": 1}
    assert found["lengths"]["characters"]["max"] == 500
    assert found["lengths"]["characters"]["p50"] == len("tweet number 17")


def test_a_part_that_was_damaged_is_held_before_it_is_sealed(door: Door) -> None:
    spoiled = door.append(tweets(20), "a")
    door.append(tweets(20, start=20), "b")
    parts = Path(door.settings.resolved_artifacts_url) / "datasets" / "sentiment" / "parts"
    (damaged,) = [path for path in parts.iterdir() if path.name.startswith(spoiled.id) and is_part(path.name)]
    damaged.write_bytes(damaged.read_bytes()[:-10])
    assert door.build() == 1
    assert sum_of(door.version()) == 20
    batch = door.stub.GetBatch(pb.GetBatchRequest(id=spoiled.id))
    assert batch.state == pb.BATCH_STATE_HELD
    assert "not as it was written" in batch.reason


def test_the_manifest_says_what_the_version_says(door: Door) -> None:
    door.append(tweets(30), "a")
    door.build()
    version = door.version()
    manifest = read_manifest(door.rooms.catalogue._artifacts, version.manifest_uri)
    assert (manifest.pipeline, manifest.version, manifest.kind) == ("sentiment", 1, "classification")
    assert manifest.digest == version.digest
    assert [part.batch for part in manifest.parts] == list(version.batches)


def test_versions_and_batches_are_listed_newest_first_and_paged(door: Door) -> None:
    sent = []
    for number in range(5):
        sent.append(door.append(tweets(3, start=3 * number), f"b{number}").id)
        door.build()
    seen: list[int] = []
    token = ""
    while True:
        page = door.stub.ListDatasetVersions(
            pb.ListDatasetVersionsRequest(pipeline="sentiment", page_size=2, page_token=token)
        )
        seen += [version.version for version in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert seen == [5, 4, 3, 2, 1]
    listed = door.stub.ListBatches(pb.ListBatchesRequest(pipeline="sentiment"))
    assert [batch.id for batch in listed.batches] == sent[::-1]
    assert [batch.id for batch in door.stub.ListBatches(pb.ListBatchesRequest()).batches] == sent[::-1]


def test_what_is_not_there_is_not_found(door: Door) -> None:
    calls: list[Callable[[], object]] = [
        lambda: door.stub.GetBatch(pb.GetBatchRequest(id="batch-0")),
        lambda: door.version(),
        lambda: door.version(7),
        lambda: door.version(pipeline="nothing"),
        lambda: door.rows("nothing"),
        lambda: door.stub.ListBatches(pb.ListBatchesRequest(pipeline="nothing")),
        lambda: door.stub.ListQuarantine(pb.ListQuarantineRequest(batch="batch-0")),
        lambda: door.stub.ListDatasetVersions(pb.ListDatasetVersionsRequest(pipeline="nothing")),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_repository_answers_for_other_services(door: Door) -> None:
    batch = door.append(tweets(10), "a")
    with door.database.read() as session:
        assert datasets.newest_sealed(session, "sentiment") is None
    door.build()
    with door.database.read() as session:
        newest = datasets.newest_sealed(session, "sentiment")
        assert isinstance(newest, DatasetVersion)
        assert newest.version == 1
        assert datasets.batches_of(session, "sentiment", 1) == [batch.id]


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def considered(door: Door) -> list[OutboxMessage]:
    return door.messages("control.consider_dataset_version")


def sum_of(version: pb.DatasetVersion) -> int:
    return version.splits.train + version.splits.validation + version.splits.test
