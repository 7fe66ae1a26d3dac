"""A store that does not answer for a while: nothing is lost, nothing waits for ever."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.finetuning.attempts import Attempt
from services.finetuning.checkpoint_store import CheckpointStore
from shared.errors import Unavailable
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from tests.finetuning.faults.checkpoints import fetched, kept, recorded, stored, write
from tests.finetuning.faults.door import Door
from tests.integration.finetuning.support import World
from tests.support.s3 import S3
from tests.support.wait import eventually


@pytest.fixture
def door(s3: S3) -> Iterator[Door]:
    with Door(urlsplit(s3.endpoint).port or 0) as made:
        yield made


@pytest.fixture
def world(database: Database, tmp_path: Path, s3: S3, door: Door) -> World:
    """A store behind a door."""
    url = f"http://127.0.0.1:{door.port}"
    return World.make(database, tmp_path / "home", artifacts_url=s3.url, artifacts_endpoint=url, max_attempts=3)


@pytest.fixture
def there(world: World, s3: S3, tmp_path: Path) -> Artifacts:
    """The store as another machine sees it."""
    return Artifacts(s3.url, tmp_path / "there", world.settings.artifacts_endpoint)


def test_a_store_that_is_away_gets_the_checkpoint_once_it_is_back_although_the_run_dropped_it(
    world: World, attempt: Attempt, store: CheckpointStore, door: Door, there: Artifacts
) -> None:
    door.shut()
    event = write(world, attempt, 3)
    store.keep(event)
    (warning,) = eventually(lambda: world.events(attempt.job.id, "log"))
    assert warning["message"].startswith("checkpoint step-00000003 waits for the store: ")
    assert recorded(world, attempt) == []
    shutil.rmtree(str(event["path"]))
    door.open()
    eventually(lambda: recorded(world, attempt) == [3])
    assert fetched(world, attempt, there) == (["step-00000003"], [])
    assert len(world.events(attempt.job.id, "log")) == 1, "it is told once"
    eventually(lambda: not list(world.settings.home.rglob("uploads/*/*")))


def test_a_checkpoint_that_waits_for_the_store_gives_way_to_a_newer_one(
    world: World, attempt: Attempt, store: CheckpointStore, door: Door
) -> None:
    door.shut()
    store.keep(write(world, attempt, 3))
    eventually(lambda: world.events(attempt.job.id, "log"))
    store.keep(write(world, attempt, 6))
    eventually(lambda: len(world.events(attempt.job.id, "log")) == 2)
    door.open()
    eventually(lambda: recorded(world, attempt) == [6])
    assert stored(world, attempt) == ["step-00000006"]


def test_a_worker_that_ends_gives_the_store_so_much_time_and_no_more(
    world: World, attempt: Attempt, store: CheckpointStore, door: Door
) -> None:
    door.shut()
    store.keep(write(world, attempt, 3))
    began = time.monotonic()
    store.close(finish=True, patience=0.5)
    assert time.monotonic() - began < 60
    assert recorded(world, attempt) == []


def test_a_store_that_is_away_at_the_start_is_waited_for_rather_than_starting_anew(
    world: World, attempt: Attempt, store: CheckpointStore, door: Door, there: Artifacts
) -> None:
    kept(world, attempt, store, [3])
    door.shut()
    with pytest.raises(Unavailable):
        fetched(world, attempt, there)
