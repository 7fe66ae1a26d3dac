"""Brings a database's tables up to date: `python -m shared.storage.migrate`.

Several services may do so at once when they start: one works, the others wait.
`python -m shared.storage.migrate new "what changes"` writes the next revision from the tables.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError

from shared.config import load_settings
from shared.errors import FailedPrecondition, Unavailable
from shared.storage.database import Database

FOLDER = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x666C7977
"""Any number that nobody else locks in the same PostgreSQL database."""


def migrate(url: str) -> None:
    """Runs the revisions that the database lacks; quick when it lacks none.

    Raises Unavailable when it can't be reached, and FailedPrecondition when it is newer than this code.
    """
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            seen = _revision(connection)
            connection.rollback()
            if seen == newest_revision():
                return
            with _alone(connection):
                _upgrade(connection)
    except OperationalError as error:
        raise Unavailable(f"the database does not answer: {error.orig}") from error
    finally:
        database.close()


@cache
def newest_revision() -> str | None:
    """The revision that this code's tables stand for; None before the first was written."""
    return ScriptDirectory(str(FOLDER)).get_current_head()


def new_revision(message: str) -> Path:
    """Writes the revision that leads from the newest one to the tables as they are in code."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/flywheel.db"
        migrate(url)
        database = Database(url)
        with database.engine.connect() as connection:
            config = _config(connection)
            number = sum(1 for _ in (FOLDER / "versions").glob("[0-9]*.py")) + 1
            script = command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")
        database.close()
    assert script is not None
    assert not isinstance(script, list)
    path = Path(script.path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if "# ###" not in line) + "\n")
    return path


def _upgrade(connection: Connection) -> None:
    seen = _revision(connection)
    known = {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}
    if seen is not None and seen not in known:
        raise FailedPrecondition(f"the database is at revision {seen}, which this version does not know", revision=seen)
    if seen != newest_revision():
        command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return found


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One transaction that nobody else can have at the same time."""
    with connection.begin():
        if connection.dialect.name == "sqlite":
            connection.execute(text("BEGIN IMMEDIATE"))
        else:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        yield


if __name__ == "__main__":
    if sys.argv[1:2] == ["new"]:
        sys.stdout.write(f"{new_revision(sys.argv[2])}\n")
    else:
        migrate(load_settings().resolved_database_url)
