"""Fixtures of real servers: each starts when a test first asks, on a free loopback port.

`valkey`, `database`, `postgres_url` and `s3` give every test a corner of its own; the session-scoped
`valkey_server`, `postgres_server` and `s3_server` behind them are for module-scoped fixtures.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage.database import Database
from shared.storage.ids import new_id
from tests.support.postgres import PostgresServer
from tests.support.s3 import S3, S3Server
from tests.support.tables import create_tables
from tests.support.valkey import Valkey, ValkeyServer


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    yield server
    server.close()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> Valkey:
    """A database of its own on the session's server, which is brought back up if a test killed it."""
    if not valkey_server.running:
        valkey_server.start()
    return Valkey(valkey_server)


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server of its own, for tests that kill it."""
    server = ValkeyServer()
    yield Valkey(server)
    server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of its own."""
    url = postgres_server.fresh_url()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    try:
        server.make_bucket()
        yield server
    finally:
        server.close()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A prefix of its own; the credentials are in the environment while the test runs."""
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    return S3(f"s3://{s3_server.BUCKET}/{new_id('test')}", s3_server.endpoint, s3_server.env)


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with every table, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "flywheel.db"
    create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(tmp_path: Path, sqlite_with_tables: Path) -> Iterator[Database]:
    """A fresh SQLite file with every table."""
    shutil.copyfile(sqlite_with_tables, tmp_path / "flywheel.db")
    made = Database(f"sqlite:///{tmp_path / 'flywheel.db'}")
    yield made
    made.close()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[Database]:
    """A fresh PostgreSQL database with every table."""
    url = postgres_server.fresh_url_with_tables()
    made = Database(url)
    yield made
    made.close()
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest) -> Database:
    """The same test on both: SQLite and PostgreSQL."""
    name = "database" if request.param == "sqlite" else "postgres_database"
    found: Database = request.getfixturevalue(name)
    return found
