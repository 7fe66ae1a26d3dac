"""Imports from a bucket of a real S3-protocol server, which goes away and comes back; artifacts lie there as well."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import grpc
import pytest

from services.ingestion.following.files import FileFollower
from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.errors import NotFound
from shared.pipelines.schema import PipelineSpec
from shared.storage.buckets import Bucket
from shared.storage.database import Database
from tests.finetuning.faults.door import Door as Way
from tests.integration.ingestion.door import SENTIMENT, Door, append_requests, declare, lines, open_door, tweets
from tests.integration.ingestion.following.test_files import look
from tests.integration.ingestion.remote.asking import ask, kept, run, seen
from tests.integration.ingestion.remote.test_lives import let_leases_run_out
from tests.support.s3 import S3, S3Server


class Store:
    """A prefix of a test's own, and the way to it."""

    def __init__(self, s3: S3, way: Way) -> None:
        self.way, self.url, self.endpoint = way, s3.url, f"http://127.0.0.1:{way.port}"
        self.bucket, _, self.prefix = s3.url.removeprefix("s3://").partition("/")
        self._files = fsspec.filesystem("s3", client_kwargs={"endpoint_url": s3.endpoint})

    def put(self, name: str, data: str | bytes) -> None:
        self._files.pipe_file(f"{self.bucket}/{self.prefix}/{name}", data.encode() if isinstance(data, str) else data)


@pytest.fixture(scope="module")
def way(s3_server: S3Server) -> Iterator[Way]:
    """One for all, so that they share the store's client, which takes long to make."""
    with Way(urlsplit(s3_server.endpoint).port or 0) as made:
        yield made


@pytest.fixture
def store(s3: S3, way: Way) -> Store:
    return Store(s3, way)


@pytest.fixture
def door(database: Database, tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """Artifacts lie in the store as well, and only `in/` may be imported from."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with open_door(
        database,
        tmp_path / "home",
        artifacts_url=f"{store.url}/artifacts",
        artifacts_endpoint=store.endpoint,
        import_buckets=f"{store.bucket}/{store.prefix}/in",
    ) as opened:
        yield opened


def test_an_object_and_a_prefix_are_imported_and_known_again(door: Door, store: Store) -> None:
    store.put("in/a.jsonl", lines(tweets(30)))
    store.put("in/deep/b.csv", "text,label\nnur hier,neutral\n")
    store.put("in/.hidden", "no rows")
    one = run(door, f"{store.url}/in/a.jsonl")
    assert (one.state, one.batch.accepted) == (pb.IMPORT_STATE_SUCCEEDED, 30)
    every = run(door, f"{store.url}/in/")
    assert (every.batch.accepted, every.batch.duplicates, every.batch.format) == (1, 30, "csv+jsonl")
    assert run(door, f"{store.url}/in/").batch.id == every.batch.id
    assert kept(door) == 2
    store.put("in/a.jsonl", lines(tweets(31)))
    assert run(door, f"{store.url}/in/a.jsonl").batch.accepted == 1


def test_a_prefix_of_many_pages_comes_whole(door: Door, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage.buckets.PAGE_KEYS", 2)
    for number in range(5):
        store.put(f"in/{number}.jsonl", lines(tweets(1, start=number)))
    assert run(door, f"{store.url}/in/").batch.accepted == 5


def test_what_is_not_there_or_not_allowed_is_told(door: Door, store: Store) -> None:
    for name in ("in/none.jsonl", "in/empty/"):
        done = run(door, f"{store.url}/{name}")
        assert done.state == pb.IMPORT_STATE_FAILED
        assert "no " in done.reason
    for uri in (f"{store.url}/other/a.jsonl", f"{store.url}/in", "s3://elsewhere/a", f"s3://{store.bucket}/"):
        with pytest.raises(grpc.RpcError) as refused:
            ask(door, uri)
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert "FLYWHEEL_IMPORT_BUCKETS" in str(refused.value.details())
    with pytest.raises(NotFound):
        list(Bucket("no-such-bucket-here", store.endpoint).below("in/"))


def test_an_object_that_is_written_anew_while_it_is_fetched_is_fetched_again_later(door: Door, store: Store) -> None:
    store.put("in/a.jsonl", lines(tweets(10)))
    place = door.rooms.importer._fetcher.place(f"{store.url}/in/a.jsonl")
    (found,) = place.files()
    store.put("in/a.jsonl", lines(tweets(12)))
    with pytest.raises(Exception, match="written anew"), place.open(found):
        pass


def test_an_import_outlives_a_store_that_is_away(door: Door, store: Store) -> None:
    store.put("in/a.jsonl", lines(tweets(40)))
    asked = ask(door, f"{store.url}/in/a.jsonl")
    store.way.shut()
    assert door.rooms.importer.run_next()
    waiting = seen(door, asked)
    assert waiting.state == pb.IMPORT_STATE_QUEUED
    assert "does not answer" in waiting.reason
    assert kept(door) == 0
    store.way.open()
    let_leases_run_out(door)
    assert door.rooms.importer.run_next()
    done = seen(door, asked)
    assert (done.state, done.batch.accepted) == (pb.IMPORT_STATE_SUCCEEDED, 40)
    assert door.build() == 1


def test_a_batch_in_flight_is_told_that_the_store_is_away_and_its_key_stays_free(door: Door, store: Store) -> None:
    """The store goes while rows come: nothing of the batch is kept, and the same batch comes in once it is back."""
    sent = threading.Event()

    def rows() -> Iterator[dict[str, Any]]:
        yield from tweets(50)
        store.way.shut()
        sent.set()

    with pytest.raises(grpc.RpcError) as refused:
        door.stub.AppendRows(append_requests(rows(), "monday"), timeout=60)
    assert sent.is_set()
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "does not answer" in str(refused.value.details())
    assert kept(door) == 0
    assert not list((door.settings.home / "ingestion").glob("batch*"))
    store.way.open()
    again = door.append(tweets(50), "monday")
    assert (again.accepted, again.repeated_call) == (50, False)


def test_a_version_is_sealed_whole_or_not_at_all_when_the_store_goes(door: Door, store: Store) -> None:
    door.append(tweets(60), "a")
    store.way.shut()
    with pytest.raises(Exception, match="does not answer"):
        door.build()
    versions = door.stub.ListDatasetVersions(pb.ListDatasetVersionsRequest(pipeline="sentiment")).versions
    assert pb.DATASET_VERSION_STATE_SEALED not in [version.state for version in versions]
    store.way.open()
    assert door.build() == 1
    assert len(door.rows()) == 60


def test_a_prefix_is_followed(door: Door, store: Store) -> None:
    source = {"name": "lake", "uri": f"{store.url}/in/", "every": 1}
    spec = PipelineSpec.model_validate({**SENTIMENT, "data": {"sources": [source]}})
    declare(door.database, json.loads(spec.model_dump_json()))
    fetcher = door.rooms.importer._fetcher
    follower = FileFollower(door.database, fetcher, "sentiment", spec.data.sources[0], "owner")
    look(door, follower)
    store.put("in/2026/a.jsonl", lines(tweets(6)))
    look(door, follower)
    assert kept(door) == 1
    store.way.shut()
    look(door, follower)
    (found,) = door.stub.ListSources(pb.ListSourcesRequest(pipeline="sentiment")).sources
    assert "does not answer" in found.error
    store.way.open()
    store.put("in/2026/b.jsonl", lines(tweets(9)))
    look(door, follower)
    (found,) = door.stub.ListSources(pb.ListSourcesRequest(pipeline="sentiment")).sources
    assert (found.kind, found.rows, found.error, found.pending) == ("s3", 15, "", 0)
