"""Rows that come, are held, released and deleted in any order: what has to hold of versions after every step."""

import random

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from shared.contracts.generated.flywheel.ingestion.v1 import ingestion_pb2 as pb
from shared.rows.base import row_id
from shared.storage import merkle
from shared.storage.datasets import read_manifest, read_sides
from tests.integration.ingestion.door import Door, tweets
from tests.integration.ingestion.test_deleting import delete, holding
from tests.integration.ingestion.test_versions import sum_of

STEPS = 24


def test_versions_are_what_they_say_whatever_happens(door: Door) -> None:
    chance = random.Random(7)
    batches: list[pb.Batch] = []
    gone: set[str] = set()
    for step in range(STEPS):
        act = chance.choice(["append", "append", "hold", "release", "delete", "build", "sweep"])
        if act == "append" or not batches:
            rows = tweets(chance.randint(1, 12), start=chance.randint(0, 60))
            gone -= {row_id("classification", row["label"], row["text"]) for row in rows}
            batches.append(door.append(rows, f"batch {step}", source=chance.choice(["app", "web"])))
        elif act == "hold":
            door.stub.HoldBatch(pb.HoldBatchRequest(id=chance.choice(batches).id))
        elif act == "release":
            door.stub.ReleaseBatch(pb.ReleaseBatchRequest(id=chance.choice(batches).id))
        elif act == "delete":
            gone |= delete_some(door, chance)
        elif act == "sweep":
            door.rooms.parts.sweep(stale_seconds=-60)
        if act in ("build", "delete"):
            door.build()
    door.build()
    door.rooms.parts.sweep(stale_seconds=-60)
    versions = door.stub.ListDatasetVersions(pb.ListDatasetVersionsRequest(pipeline="sentiment")).versions
    sides: dict[str, str] = {}
    for version in versions:
        if version.state == pb.DATASET_VERSION_STATE_SEALED:
            check_sealed(door, version, sides)
        else:
            with pytest.raises(grpc.RpcError, match="is expired"):
                door.rows(version=version.version)
    assert not [row for row in gone if holding(door, row)]


def delete_some(door: Door, chance: random.Random) -> set[str]:
    """Ids of the rows that are deleted now."""
    try:
        rows = [row.id for row in door.rows()]
    except grpc.RpcError:
        return set()  # nothing is sealed yet
    wanted = chance.sample(rows, min(len(rows), chance.randint(1, 3)))
    if wanted:
        delete(door, *wanted)
    return set(wanted)


def check_sealed(door: Door, version: pb.DatasetVersion, sides: dict[str, str]) -> None:
    """It has the rows it counts, none twice, each on the side that it has in every version, and the root it tells."""
    rows = door.rows(version=version.version)
    assert len(rows) == len({row.id for row in rows}) == sum_of(version)
    for row in rows:
        assert sides.setdefault(row.id, row.split) == row.split
    artifacts = door.rooms.catalogue._artifacts
    manifest = read_manifest(artifacts, version.manifest_uri)
    roots = [
        merkle.rows_root(read_sides(artifacts.fetch_file(part.uri, part.digest), part.test))
        for part in manifest.parts
        if part.rows
    ]
    assert merkle.join(roots) == version.merkle_root == manifest.merkle_root
    found = MessageToDict(door.version(version.version).statistics)
    assert sum(count for of in found["labels"].values() for count in of.values()) == len(rows)
