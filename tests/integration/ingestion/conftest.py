from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage.database import Database
from tests.integration.ingestion.door import Door, open_door


@pytest.fixture
def door(database: Database, tmp_path: Path) -> Iterator[Door]:
    """The service on SQLite and a local folder."""
    with open_door(database, tmp_path / "home") as opened:
        yield opened
