"""The main path on PostgreSQL and an S3-protocol store, as in a fleet."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.storage.database import Database
from tests.integration.ingestion.door import Door, open_door, tweets
from tests.integration.ingestion.test_versions import sum_of
from tests.support.s3 import S3


@pytest.fixture
def fleet(postgres_database: Database, s3: S3, tmp_path: Path) -> Iterator[Door]:
    with open_door(
        postgres_database, tmp_path / "home", artifacts_url=s3.url, artifacts_endpoint=s3.endpoint
    ) as opened:
        yield opened


def test_rows_come_in_are_sealed_held_and_released(fleet: Door) -> None:
    first = fleet.append([*tweets(300), {"text": "nul\0", "label": "neutral"}], "a")
    assert (first.accepted, first.quarantined) == (300, 1)
    assert fleet.append(tweets(10), "a").repeated_call
    second = fleet.append(tweets(300, start=200), "b")
    assert (second.accepted, second.duplicates) == (200, 100)
    assert fleet.build() == 1
    assert len(fleet.rows()) == 500
    fleet.stub.HoldBatch(pb.HoldBatchRequest(id=second.id, reason="looks spoiled"))
    assert fleet.build() == 2
    assert sum_of(fleet.version()) == 300
    released = fleet.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=second.id, reason="it was fine"))
    assert released.accepted == 200
    assert fleet.build() == 3
    assert len(fleet.rows()) == sum_of(fleet.version()) == 500 - second.splits.test
    fleet.rooms.parts.sweep(stale_seconds=-60)
    assert len(fleet.rows(version=1)) == 500


def test_many_clients_and_builders_at_one_moment_bring_each_row_once(fleet: Door) -> None:
    def send(number: int) -> pb.Batch:
        return fleet.append(tweets(400, start=100 * (number // 2)), f"batch-{number // 2}")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
        sealed = list(pool.map(lambda _: fleet.build(), range(4)))
    assert sum(answer.repeated_call for answer in answers) == 4
    assert sum(answer.accepted for answer in answers if not answer.repeated_call) == 700
    assert sorted(filter(None, sealed)) == [1]
    assert len({row.id for row in fleet.rows()}) == len(fleet.rows()) == 700


def test_rows_are_deleted_by_many_at_one_moment(fleet: Door) -> None:
    fleet.append(tweets(60), "a")
    fleet.append(tweets(60, start=60), "b")
    fleet.build()
    rows = [row.id for row in fleet.rows()]

    def delete(number: int) -> pb.Deletion:
        wanted = rows[number % 4 :: 20]
        request = pb.DeleteRowsRequest(pipeline="sentiment", rows=wanted, reason="asked for")
        answer: pb.Deletion = fleet.stub.DeleteRows(request, timeout=60)
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(delete, range(6)))
        sealed = list(pool.map(lambda _: fleet.build(), range(3)))
    assert len({answer.id for answer in answers if answer.rows}) == 4
    assert [version for version in sealed if version]
    gone = {row for number in range(4) for row in rows[number::20]}
    assert {row.id for row in fleet.rows()} == set(rows) - gone
    assert fleet.append(tweets(120), "again").accepted == len(gone)
