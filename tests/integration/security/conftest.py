"""Servers behind the real door, and an authority that signs their certificates."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.rpc.security import OPEN, Security
from tests.integration.security.world import World
from tests.support.certificates import Authority


@pytest.fixture
def serve() -> Iterator[Callable[..., World]]:
    """Starts worlds, and closes them at the end."""
    made: list[World] = []

    def start(security: Security = OPEN, **options: Any) -> World:
        made.append(World(security, **options))
        return made[-1]

    yield start
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
