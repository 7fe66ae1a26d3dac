"""One door to the database, the same on SQLite (WAL) and PostgreSQL."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from shared.errors import InvalidArgument, Unavailable

BUSY_SECONDS = 30


class Database:
    """Sessions on a database.

    `write()` commits when its block ends and rolls back when it raises; on SQLite it takes the write
    lock at once, so that what it read is still true when it writes. `read()` never writes.
    Both raise Unavailable when the database can't be reached.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self.after_commit: Callable[[list[str]], None] = lambda outbox_ids: None
        """Told the ids of the outbox rows that a commit wrote; messaging hooks in here."""

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._session() as session:
            with session.begin():
                if self.is_sqlite:
                    session.execute(text("BEGIN IMMEDIATE"))
                yield session
            written: list[str] = session.info.pop("outbox", [])
        if written:
            self.after_commit(written)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._session() as session:
            if self.is_sqlite:
                session.execute(text("BEGIN"))  # else every statement is a transaction of its own, and commits
            yield session
            session.expunge_all()  # what was read stays readable
            session.rollback()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with self._sessions() as session:
                yield session
        except OperationalError as error:
            raise Unavailable(f"the database does not answer: {error.orig}") from error

    def close(self) -> None:
        self.engine.dispose()


def clock(session: Session) -> datetime:
    """The database's clock, in UTC. Leases compare with this one, never with a worker's."""
    if session.get_bind().dialect.name == "sqlite":
        seen = session.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
        return datetime.fromisoformat(str(seen)).replace(tzinfo=UTC)
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidArgument("FLYWHEEL_DATABASE_URL is no database URL; postgresql://… or sqlite:///FILE") from None
    if parsed.drivername in ("postgresql", "postgres"):
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=5, max_overflow=20
        )
    if parsed.drivername != "sqlite":
        raise InvalidArgument(f"FLYWHEEL_DATABASE_URL has the scheme {parsed.drivername!r}; postgresql or sqlite")
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
