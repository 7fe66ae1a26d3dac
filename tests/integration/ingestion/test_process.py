"""The whole process on a real Valkey: rows in by gRPC, versions built from the queue, killed, out of room."""

import secrets
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from tests.integration.ingestion.door import append_requests, lines, tweets
from tests.integration.ingestion.process import IngestionProcess, running
from tests.support.valkey import Valkey
from tests.support.wait import eventually


def newest(process: IngestionProcess) -> pb.DatasetVersion | None:
    found = process.stub.ListDatasetVersions(pb.ListDatasetVersionsRequest(pipeline="sentiment")).versions
    return next((version for version in found if version.state == pb.DATASET_VERSION_STATE_SEALED), None)


def test_a_batch_becomes_a_version_without_anybody_asking_and_the_process_ends_cleanly(
    tmp_path: Path, valkey: Valkey
) -> None:
    with running(tmp_path / "home", valkey.url) as process:
        process.stub.AppendRows(append_requests(tweets(20), "a"), timeout=20)
        version = eventually(lambda: newest(process))
        assert version is not None
        assert version.new_rows == 20
        metrics = urllib.request.urlopen(process.ready["metrics"], timeout=30).read().decode()
        assert 'flywheel_ingestion_rows_total{outcome="accepted",pipeline="sentiment"} 20.0' in metrics
        assert process.terminate() == 0


def test_a_process_killed_in_the_middle_of_a_batch_leaves_nothing_and_the_key_is_free(
    tmp_path: Path, valkey: Valkey
) -> None:
    home, sent, never = tmp_path / "home", threading.Event(), threading.Event()

    def endless() -> Iterator[pb.AppendRowsRequest]:
        yield from append_requests(tweets(9000), "cut")
        sent.set()
        never.wait(20)

    with running(home, valkey.url) as process:
        call = process.stub.AppendRows.future(endless(), timeout=30)
        assert sent.wait(20)
        process.kill()
        never.set()
        with pytest.raises(grpc.RpcError):
            call.result()
    assert not list((home / "ingestion").iterdir())
    with running(home, valkey.url) as process:
        batch = process.stub.AppendRows(append_requests(tweets(100), "cut"), timeout=20)
        assert (batch.accepted, batch.repeated_call) == (100, False)
        version = eventually(lambda: newest(process))
        assert version is not None
        assert version.new_rows == 100


def test_a_full_disk_is_said_and_nothing_half_written_stays(tmp_path: Path, valkey: Valkey) -> None:
    """No file of the process may grow beyond a limit, which is what a full disk or quota looks like to it."""
    home = tmp_path / "home"
    with running(home, valkey.url, largest_file=1_500_000) as process:
        big = lines([{"text": secrets.token_urlsafe(600), "label": "neutral"} for _ in range(4000)])
        with pytest.raises(grpc.RpcError) as refused:
            process.stub.ImportFile(file_pieces(big.encode()), timeout=60)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "nothing of it was kept" in str(refused.value.details())
        assert not list((home / "ingestion").iterdir())
        assert not list((home / "artifacts").rglob("*.parquet*"))
        batch = process.stub.AppendRows(append_requests(tweets(50), "big"), timeout=20)
        assert (batch.accepted, batch.repeated_call) == (50, False)


def file_pieces(data: bytes) -> Iterator[pb.ImportFileRequest]:
    yield pb.ImportFileRequest(header=pb.BatchHeader(pipeline="sentiment", batch_key="big", source="file"))
    for start in range(0, len(data), 1 << 20):
        yield pb.ImportFileRequest(chunk=data[start : start + (1 << 20)])
