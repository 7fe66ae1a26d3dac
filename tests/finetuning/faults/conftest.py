"""A sealed dataset version, a job that was taken, and where its checkpoints go."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from services.finetuning.checkpoint_store import CheckpointStore
from services.finetuning.records import RunRecord
from shared.storage.database import Database
from tests.finetuning.faults.checkpoints import RUN
from tests.integration.finetuning.support import World
from tests.support.tiny_models import tiny_encoder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home", lease_seconds=5, grace_seconds=60)
    made.dataset()
    return made


@pytest.fixture
def attempt(world: World) -> Attempt:
    taken = attempts.take(world.database, world.job(), "worker", 60, 3)
    assert taken is not None
    return taken


@pytest.fixture
def store(world: World, attempt: Attempt) -> Iterator[CheckpointStore]:
    made = CheckpointStore(world.artifacts, RunRecord(world.database, attempt), attempt.job.id, RUN)
    yield made
    made.close(finish=False)
