"""Answers are found at once and survive a database that is away."""

import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from services.inference.answering import answers
from services.inference.answering.answers import AnswerLog, Times
from services.inference.models.lineage import Lineage
from shared.errors import NotFound
from shared.rpc import callers
from shared.rpc.callers import Caller, Role
from shared.storage.database import Database
from shared.storage.tables import Answer
from tests.support.wait import eventually

LINEAGE = Lineage("mood", 3, weights_digest="a" * 64, run="run-1", dataset_version=2, engine="torch")
CALL = frozenset({Role.CALL})
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


def test_answers_that_come_while_the_database_is_away_are_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_PENDING", 10)
    log = AnswerLog(database)
    for number in range(25):
        add(log, f"r{number}")
    assert log.lost == 15
    with pytest.raises(NotFound):
        log.find("r14")
    assert log.find("r15").request_id == "r15"
    log._flush()
    assert _row(database, "r24") is not None


def test_stopping_without_a_database_ends_all_the_same(database: Database) -> None:
    log = AnswerLog(database)
    log.start()
    with database.engine.begin() as connection:
        connection.execute(text("DROP TABLE answers"))
    add(log, "r1")
    log.stop()


def test_ten_thousand_answers_are_written_faster_than_two_thousand_a_second(database: Database) -> None:
    log = AnswerLog(database)
    for number in range(10_000):
        add(log, f"r{number}")
    began = time.monotonic()
    log._flush()
    assert time.monotonic() - began < 5
    with database.read() as session:
        assert session.query(Answer).count() == 10_000


def test_old_answers_are_forgotten_a_part_at_a_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "CLEAN_BATCH", 2)
    log = AnswerLog(database)
    for number in range(3):
        add(log, f"r{number}")
    log._flush()
    with database.write() as session:
        session.query(Answer).update({"created_at": datetime.now(UTC) - timedelta(hours=25)})
    assert [log._clean(), log._clean()] == [True, False]


def test_answers_older_than_a_day_are_forgotten(database: Database) -> None:
    log = AnswerLog(database)
    add(log, "new")
    log._flush()
    with database.write() as session:
        row = session.get(Answer, ("new", ""))
        assert row is not None
        row.created_at = datetime.now(UTC) - timedelta(hours=25)
    log._clean()
    with pytest.raises(NotFound, match="kept for a day"):
        log.find("new")


def _row(database: Database, request_id: str) -> Answer | None:
    with database.read() as session:
        return session.get(Answer, (request_id, ""))


@pytest.mark.parametrize("written", [False, True])
def test_an_answer_is_its_tenants_and_operators_see_all(any_database: Database, written: bool) -> None:
    log = AnswerLog(any_database)
    acme, rival, boss = Caller("acme", CALL), Caller("rival", CALL), Caller("boss", frozenset(Role))
    called_by(acme, partial(add, log, "r1", "good"))
    called_by(rival, partial(add, log, "r1", "bad"))
    called_by(acme, partial(add, log, "r2", "good"))
    if written:
        log.start()
        log.stop()

    def label(caller: Caller, request_id: str) -> str:
        return str(called_by(caller, partial(log.find, request_id)).output["labels"][0])

    assert [label(acme, "r1"), label(rival, "r1")] == ["good", "bad"]
    assert label(boss, "r1") == "bad"
    assert label(boss, "r2") == "good"
    for caller in (rival, replace(acme, models=frozenset({"another"}))):
        with pytest.raises(NotFound, match="no answer to request 'r2'; answers are kept for a day"):
            label(caller, "r2")


def called_by(caller: Caller, act: Callable[[], Any]) -> Any:
    """What `act` returns in the context of the caller's call."""

    def call() -> Any:
        callers.current.set(caller)
        return act()

    return copy_context().run(call)
