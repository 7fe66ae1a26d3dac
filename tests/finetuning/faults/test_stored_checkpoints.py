"""Checkpoints in a store that several machines share: damaged there, or of a worker that lost its job."""

from pathlib import Path

import pytest

from services.finetuning.attempts import Attempt
from services.finetuning.checkpoint_files import newest_first, verifies
from services.finetuning.checkpoint_store import CheckpointStore, fetch_newest
from services.finetuning.workplace import Workplace
from shared.storage.artifacts import MANIFEST, Artifacts
from shared.storage.database import Database, clock
from shared.storage.repositories import jobs
from tests.finetuning.faults.checkpoints import RUN, Elsewhere, fetched, kept, recorded, stored, write
from tests.integration.finetuning.support import World
from tests.support.wait import eventually


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home")
    made.artifacts = Elsewhere(str(tmp_path / "store"), tmp_path / "cache")
    return made


def test_only_what_is_in_the_books_stays_in_the_store(world: World, attempt: Attempt, store: CheckpointStore) -> None:
    kept(world, attempt, store, [3, 6, 9])
    eventually(lambda: stored(world, attempt) == ["step-00000006", "step-00000009"])


def test_a_worker_whose_job_is_anothers_leaves_nothing_in_the_store(
    world: World, attempt: Attempt, store: CheckpointStore
) -> None:
    kept(world, attempt, store, [3])
    with world.database.write() as session:
        jobs.get(session, attempt.job.id, lock=True).lease_expires_at = clock(session)
    eventually(world.reclaim)
    store.keep(write(world, attempt, 6))
    store.close(finish=True, patience=5)
    assert stored(world, attempt) == ["step-00000003"]
    assert recorded(world, attempt) == [3]


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json", "manifest.json", MANIFEST])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "garbage"])
def test_of_damaged_stored_checkpoints_the_newest_good_one_is_fetched_and_that_is_told(
    world: World, attempt: Attempt, store: CheckpointStore, file: str, damage: str
) -> None:
    kept(world, attempt, store, [3, 6])
    uri = f"checkpoints/{attempt.job.id}/{RUN}/step-00000006/{file}"
    spoil(world.artifacts, uri, damage)
    names, told = fetched(world, attempt, world.artifacts)
    assert names == ["step-00000003"]
    assert [line.partition(":")[0] for line in told] == [
        "the stored checkpoint step-00000006 is damaged and passed over"
    ]


def spoil(artifacts: Artifacts, uri: str, damage: str) -> None:
    data = bytearray(artifacts.read_bytes(uri))
    artifacts.delete(uri)
    if damage == "gone":
        return
    data[len(data) // 2] ^= 1
    artifacts.write_bytes(uri, {"flipped": bytes(data), "cut": bytes(data[:-1]), "garbage": b"[]"}[damage])


def test_the_stored_twin_of_a_damaged_checkpoint_on_this_machine_is_fetched(
    world: World, attempt: Attempt, store: CheckpointStore
) -> None:
    kept(world, attempt, store, [3, 6])
    place = Workplace(world.settings.home, attempt.job.id)
    (place.checkpoints / "step-00000006" / "weights.safetensors").write_bytes(b"damaged")
    fetch_newest(world.database, world.artifacts, attempt.job.id, place, pytest.fail)
    assert [verifies(path) for path in newest_first(place.checkpoints)] == [True, True]
