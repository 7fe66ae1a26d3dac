from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage.database import Database
from tests.integration.ingestion.door import Door, open_door


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A folder that rows may be imported from."""
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def door(database: Database, tmp_path: Path, drop: Path) -> Iterator[Door]:
    """The service on SQLite and a local folder; imports run when a test says so."""
    with open_door(database, tmp_path / "home", import_folders=str(drop)) as opened:
        yield opened
