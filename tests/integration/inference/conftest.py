"""A real inference server on a real database with tiny real models, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.modeling.quiet import quiet_libraries
from shared.storage.database import Database
from tests.integration.inference.platform import Platform


@pytest.fixture
def platform(tmp_path: Path, database: Database) -> Iterator[Platform]:
    quiet_libraries()
    made = Platform(tmp_path, database)
    yield made
    made.close()
