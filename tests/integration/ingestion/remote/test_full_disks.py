"""A disk that gets full while rows come in: it is said, and nothing of the batch is kept, wherever it was."""

import secrets
from pathlib import Path

import grpc
import pytest

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.database import Database
from tests.finetuning.faults.disks import small_disk
from tests.integration.ingestion.door import lines, open_door, tweets
from tests.integration.ingestion.remote.asking import ask, kept, seen
from tests.integration.ingestion.remote.test_lives import let_leases_run_out

BIG = lines([{"text": secrets.token_urlsafe(700), "label": "neutral"} for _ in range(3000)])
"""Two megabytes that no packing makes smaller."""


def test_a_full_disk_of_the_service_refuses_the_batch_and_takes_it_once_there_is_room(
    database: Database, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        open_door(database, disk.folder / "home", artifacts_url=str(tmp_path / "artifacts")) as door,
    ):
        before = sorted(path.name for path in (disk.folder / "home").rglob("*") if path.is_file())
        disk.leave(600 << 10)
        with pytest.raises(grpc.RpcError) as refused:
            door.upload(BIG, "monday")
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value.details()
        assert kept(door) == 0
        assert door.stored_parts() == []
        disk.tidy()
        assert door.append(tweets(50), "monday").accepted == 50
        after = sorted(path.name for path in (disk.folder / "home").rglob("*") if path.is_file())
        assert after == before, "nothing was left on the disk"


def test_a_full_disk_of_the_artifacts_refuses_the_batch_and_leaves_no_half_of_a_part(
    database: Database, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        open_door(database, tmp_path / "home", artifacts_url=str(disk.folder / "artifacts")) as door,
    ):
        disk.leave(600 << 10)
        with pytest.raises(grpc.RpcError) as refused:
            door.upload(BIG, "monday")
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, refused.value.details()
        assert kept(door) == 0
        assert not [path for path in (disk.folder / "artifacts").rglob("*") if path.is_file()]
        disk.tidy()
        assert door.append(tweets(50), "monday").accepted == 50
        assert door.build() == 1


def test_an_import_waits_for_room(database: Database, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "big.jsonl").write_text(BIG)
    with (
        small_disk(tmp_path / "disk") as disk,
        open_door(
            database, disk.folder / "home", artifacts_url=str(tmp_path / "artifacts"), import_folders=str(drop)
        ) as door,
    ):
        disk.leave(600 << 10)
        asked = ask(door, f"file://{drop}/big.jsonl")
        assert door.rooms.importer.run_next()
        waiting = seen(door, asked)
        assert (waiting.state, kept(door)) == (pb.IMPORT_STATE_QUEUED, 0)
        assert "no room" in waiting.reason
        (drop / "big.jsonl").write_text(lines(tweets(20)))
        disk.tidy()
        let_leases_run_out(door)
        assert door.rooms.importer.run_next()
        assert seen(door, asked).batch.accepted == 20
