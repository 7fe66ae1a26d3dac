"""Dataset versions: sealed once, growing, immutable."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from sqlalchemy import select

from services.ingestion import rules
from services.ingestion.deleting.finding import is_part
from services.ingestion.near.leaks import LeakedRow, LeakPair, check_leaks
from services.ingestion.versions.planning import digest_of
from services.ingestion.versions.verifying import LEAKS
from shared.contracts.codec import decode
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.contracts.messages import ConsiderDatasetVersion
from shared.storage import merkle
from shared.storage.datasets import Manifest, read_manifest, read_sides
from shared.storage.repositories import datasets
from shared.storage.tables import Batch, DatasetVersion, OutboxMessage
from tests.integration.ingestion.door import SENTIMENT, Door, declare, struct, tweets


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


def test_a_licence_is_the_batches_or_the_pipelines_and_stands_in_version_and_manifest(door: Door) -> None:
    declare(door.database, {**SENTIMENT, "data": {"licence": "CC-BY-4.0"}})
    door.append(tweets(10), "a")
    header = pb.BatchHeader(pipeline="sentiment", batch_key="b", source="partner", licence="partner only")
    rows = [pb.AppendRowsRequest(row=struct(row)) for row in tweets(5, start=10)]
    given = door.stub.AppendRows(iter([pb.AppendRowsRequest(header=header), *rows]))
    assert given.licence == "partner only"
    door.build()
    version = door.version()
    assert list(version.licences) == ["CC-BY-4.0", "partner only"]
    manifest = manifest_of(door)
    assert (manifest.licences, manifest.sources) == ({"CC-BY-4.0": 10, "partner only": 5}, {"tests": 10, "partner": 5})


def test_a_manifest_says_how_the_rows_came_to_be(door: Door) -> None:
    door.append(tweets(30), "a")
    door.build()
    door.append(tweets(10, start=30), "b")
    door.build()
    manifest, version = manifest_of(door), door.version()
    assert manifest.schema == {
        "kind": "classification",
        "version": 1,
        "columns": ["text", "label", "text_pair", "labels"],
    }
    assert manifest.rules["splits"]["test"] == 0.15
    assert (manifest.rules["revision"], manifest.rules["version"]) == (1, rules.VERSION)
    assert manifest.parent == version.parent == 1
    assert sum(manifest.counts.values()) == 40
    assert manifest.merkle_root == version.merkle_root
    assert MessageToDict(version.statistics)["leak_check"]["pairs"] == 0
    assert manifest.leak_check["new_rows"] == 10


def test_sealing_reads_only_what_is_new(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.append(tweets(30), "a")
    door.build()
    door.append(tweets(10, start=30), "b")
    read: list[int] = []
    true = merkle.rows_root
    monkeypatch.setattr(merkle, "rows_root", lambda rows: true(counted(rows, read)))
    door.build()
    assert read == [10]


def test_every_row_of_a_version_can_be_proven(door: Door) -> None:
    for number in range(3):
        door.append(tweets(7, start=7 * number), f"batch {number}")
        door.build()
    manifest, artifacts = manifest_of(door), door.rooms.catalogue._artifacts
    parts = [list(read_sides(artifacts.fetch_file(part.uri, part.digest), part.test)) for part in manifest.parts]
    roots = [part.root for part in manifest.parts]
    for place, rows in enumerate(parts):
        for index in range(len(rows)):
            assert merkle.check(merkle.prove(rows, index, roots, place), door.version().merkle_root)


def test_manifests_and_versions_from_before_there_were_roots_go_on(door: Door) -> None:
    door.append(tweets(20), "a")
    door.build()
    artifacts, uri = door.rooms.catalogue._artifacts, door.version().manifest_uri
    old = json.loads(artifacts.read_bytes(uri))
    digest = old["digest"]
    parts = [{key: part[key] for key in OLD_PART} for part in old["parts"]]
    artifacts.write_bytes(uri, json.dumps({**{key: old[key] for key in OLD_MANIFEST}, "parts": parts}).encode())
    assert len(door.rows(version=1)) == 20
    door.append(tweets(20, start=20), "b")
    assert door.build() == 2
    assert manifest_of(door).merkle_root == door.version().merkle_root != ""
    assert digest_of([manifest_of(door, 1).parts[0]]) == digest


def test_batches_that_keep_coming_hold_no_version_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    door.append(tweets(10), "a")
    seal = door.rooms.builder._seal

    def while_more_comes(*given: Any) -> bool:
        door.append(tweets(10, start=10), "b")
        return seal(*given)

    monkeypatch.setattr(door.rooms.builder, "_seal", while_more_comes)
    assert door.build() == 1
    assert sum_of(door.version()) == 10
    monkeypatch.undo()
    assert door.build() == 2
    assert sum_of(door.version()) == 20


def test_a_leak_is_never_sealed_and_its_batch_is_held(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = door.append(tweets(10), "a"), door.append(tweets(10, start=10), "b")

    def leaking(artifacts: Any, manifest: Any, new: Any, threshold: Any) -> Any:
        report = check_leaks(artifacts, manifest, new, threshold)
        if bad.id not in {part.batch for part in manifest.parts}:
            return report
        pair = LeakPair(LeakedRow(good.id, "0" * 32, "train"), LeakedRow(bad.id, "1" * 32, "test"), 0.9)
        return replace(report, pairs=(pair,), near=1)

    monkeypatch.setattr("services.ingestion.versions.verifying.check_leaks", leaking)
    assert door.build() == 1
    assert (list(door.version().batches), door.version().leaks) == ([good.id], 0)
    held = door.stub.GetBatch(pb.GetBatchRequest(id=bad.id))
    assert (held.state, held.reason) == (pb.BATCH_STATE_HELD, LEAKS)


def test_statistics_tell_of_balance_words_and_lengths_out_of_line(door: Door) -> None:
    door.append([*tweets(60), {"text": "很" * 4000, "label": "neutral"}], "a")
    door.build()
    found = MessageToDict(door.version().statistics)
    assert found["class_balance"]["labels"] == 3
    assert 2.9 < found["class_balance"]["effective"] <= 3
    assert found["outliers"]["characters"]["long"] == 1
    with door.database.read() as session:
        kept = session.scalars(select(Batch)).one().statistics
    words = {word for split in kept.values() if isinstance(split, dict) for word in split.get("words", {})}
    assert {"tweet", "number", "很"} <= words


OLD_PART = ("batch", "uri", "digest", "train", "validation", "test_rows", "test")
OLD_MANIFEST = ("pipeline", "version", "kind", "digest")


def manifest_of(door: Door, version: int = 0) -> Manifest:
    return read_manifest(door.rooms.catalogue._artifacts, door.version(version).manifest_uri)


def counted(rows: Iterable[merkle.Row], into: list[int]) -> Iterator[merkle.Row]:
    into.append(0)
    for row in rows:
        into[-1] += 1
        yield row
