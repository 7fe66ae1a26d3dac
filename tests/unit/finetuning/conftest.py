"""A queued job in a small world, without any process."""

from pathlib import Path

import pytest

from services.finetuning import attempts
from services.finetuning.attempts import Attempt
from shared.storage.database import Database
from tests.integration.finetuning.support import World


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World.make(database, tmp_path / "home")
    made.dataset()
    return made


@pytest.fixture
def attempt(world: World) -> Attempt:
    """A taken job."""
    taken = attempts.take(world.database, world.job(), "worker", 60, 3)
    assert taken is not None
    return taken
