"""Answers are found at once and survive a database that is away."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from services.inference.answering.answers import AnswerLog, Times
from services.inference.models.lineage import Lineage
from shared.errors import NotFound
from shared.storage.database import Database
from shared.storage.tables import Answer
from tests.support.wait import eventually

LINEAGE = Lineage("mood", 3, weights_digest="a" * 64, run="run-1", dataset_version=2, engine="torch")
TIMES = Times(queue=0.001, compute=0.01, total=0.011)


def add(log: AnswerLog, request_id: str, label: str = "good") -> None:
    log.add(request_id, "Classify", {"texts": ["x"]}, {"labels": [label]}, LINEAGE, TIMES)


def test_an_answer_is_found_before_and_after_it_is_written(any_database: Database) -> None:
    log = AnswerLog(any_database)
    add(log, "r1")
    before = log.find("r1")
    log.start()
    log.stop()
    after = AnswerLog(any_database).find("r1")
    assert (before.lineage, before.times, before.output) == (LINEAGE, TIMES, {"labels": ["good"]})
    assert (after.lineage, after.times, after.output) == (LINEAGE, TIMES, {"labels": ["good"]})
    assert abs(after.created_at - before.created_at) < timedelta(milliseconds=1)


def test_the_same_request_id_keeps_its_latest_answer(database: Database) -> None:
    log = AnswerLog(database)
    log.start()
    add(log, "r1", "bad")
    eventually(lambda: _row(database, "r1"))
    add(log, "r1", "good")
    log.stop()
    row = _row(database, "r1")
    assert row is not None
    assert row.output == {"labels": ["good"]}


def test_answers_wait_while_the_database_is_away(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE answers RENAME TO away"))
    log = AnswerLog(database)
    log.start()
    add(log, "r1")
    assert log.find("r1").request_id == "r1"
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO answers"))
    eventually(lambda: _row(database, "r1"))
    log.stop()


def test_answers_older_than_a_day_are_forgotten(database: Database) -> None:
    log = AnswerLog(database)
    add(log, "new")
    log._flush()
    with database.write() as session:
        row = session.get(Answer, "new")
        assert row is not None
        row.created_at = datetime.now(UTC) - timedelta(hours=25)
    log._clean()
    with pytest.raises(NotFound, match="kept for a day"):
        log.find("new")


def _row(database: Database, request_id: str) -> Answer | None:
    with database.read() as session:
        return session.get(Answer, request_id)
