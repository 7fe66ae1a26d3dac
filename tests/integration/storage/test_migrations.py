"""Migrated databases against the tables in code."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from shared.errors import FailedPrecondition, Unavailable
from shared.storage.database import Database
from shared.storage.migrate import migrate, newest_revision
from shared.storage.tables import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'flywheel.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def migrated(empty_url: str) -> Iterator[Database]:
    migrate(empty_url)
    database = Database(empty_url)
    yield database
    database.close()


def test_a_migrated_database_has_exactly_the_tables_in_code(migrated: Database) -> None:
    with migrated.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == [], "write a revision: python -m shared.storage.migrate new 'what changes'"


def test_migrating_again_changes_nothing(migrated: Database, empty_url: str) -> None:
    migrate(empty_url)
    with migrated.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [newest_revision()]


def test_five_services_may_migrate_at_once(empty_url: str) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            migrate(empty_url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    database = Database(empty_url)
    assert "jobs" in inspect(database.engine).get_table_names()
    database.close()


def test_a_database_from_the_future_is_left_alone(migrated: Database, empty_url: str) -> None:
    with migrated.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FailedPrecondition, match="9999"):
        migrate(empty_url)


def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        migrate("postgresql://nobody@127.0.0.1:1/none")
