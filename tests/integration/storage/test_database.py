"""One door to both databases."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError

from shared.errors import InvalidArgument, Unavailable
from shared.storage.database import Database, clock
from shared.storage.tables import Leader, Pipeline

MOMENT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def leader(role: str, expires_at: datetime = MOMENT) -> Leader:
    return Leader(role=role, owner="one", fence=1, expires_at=expires_at)


def test_a_write_that_raises_leaves_nothing(any_database: Database) -> None:
    def fail() -> None:
        with any_database.write() as session:
            session.add(leader("control"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with any_database.read() as session:
        assert session.get(Leader, "control") is None


def test_a_read_writes_nothing(any_database: Database) -> None:
    with any_database.read() as session:
        session.add(leader("control"))
        session.flush()
    with any_database.read() as session:
        assert session.get(Leader, "control") is None


def test_moments_come_back_in_utc_to_the_microsecond(any_database: Database) -> None:
    east = timezone(timedelta(hours=9))
    with any_database.write() as session:
        session.add(leader("control", MOMENT.astimezone(east)))
    with any_database.read() as session:
        found = session.get(Leader, "control")
        assert found is not None
        assert found.expires_at == MOMENT
        assert found.expires_at.utcoffset() == timedelta(0)


def test_a_moment_without_a_time_zone_is_refused(any_database: Database) -> None:
    with pytest.raises((StatementError, AssertionError)), any_database.write() as session:
        session.add(leader("control", MOMENT.replace(tzinfo=None)))


def test_moments_compare_as_moments(any_database: Database) -> None:
    with any_database.write() as session:
        session.add_all([leader("past", MOMENT), leader("future", MOMENT + timedelta(milliseconds=1))])
    with any_database.read() as session:
        later = session.scalars(select(Leader.role).where(Leader.expires_at > MOMENT)).all()
    assert later == ["future"]


def test_the_clock_is_now_and_moves(any_database: Database) -> None:
    with any_database.read() as session:
        first, second = clock(session), clock(session)
    assert abs(datetime.now(UTC) - first) < timedelta(seconds=5)
    assert second >= first


def test_json_comes_back_as_it_went(any_database: Database) -> None:
    spec = {"name": "sentiment", "labels": ["ü", None, 1.5], "nested": {"on": True}}
    with any_database.write() as session:
        now = clock(session)
        session.add(Pipeline(name="sentiment", revision=1, spec=spec, created_at=now, updated_at=now))
    with any_database.read() as session:
        found = session.get(Pipeline, "sentiment")
        assert found is not None
        assert found.spec == spec


def test_writers_wait_for_each_other_and_lose_no_update(any_database: Database) -> None:
    with any_database.write() as session:
        session.add(leader("control"))

    def raise_fence() -> None:
        for _ in range(5):
            with any_database.write() as session:
                found = session.get(Leader, "control", with_for_update=True)
                assert found is not None
                found.fence += 1

    threads = [threading.Thread(target=raise_fence) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_database.read() as session:
        found = session.get(Leader, "control")
        assert found is not None
        assert found.fence == 21


def test_sqlite_reads_while_another_writes(database: Database) -> None:
    with database.write() as writer:
        writer.add(leader("control"))
        writer.flush()
        with database.read() as reader:
            assert reader.get(Leader, "control") is None
    with database.read() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="FLYWHEEL_DATABASE_URL"):
        Database(url)


def test_a_database_that_is_away_is_unavailable() -> None:
    away = Database("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(Unavailable) as caught, away.read() as session:
        session.execute(text("SELECT 1"))
    assert "secret" not in str(caught.value)
    away.close()
