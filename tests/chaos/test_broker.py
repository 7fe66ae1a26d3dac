"""Workers and publishers while the broker, or the worker itself, goes away."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.config import Settings, child_environment
from shared.messaging import broker
from shared.storage.database import Database
from tests.support.messaging import (
    QUEUE,
    leave,
    messaging_settings,
    publishing,
    relaying,
    row,
    until_done,
)
from tests.support.valkey import Valkey
from tests.support.wait import eventually


class WorkerProcess:
    """A worker in a process of its own, and the words that it said."""

    def __init__(self, settings: Settings, log: Path, *arguments: str) -> None:
        self._log = log
        environment = child_environment(
            broker_url=settings.broker_url,
            database_url=settings.database_url,
            visibility_seconds=settings.visibility_seconds,
            redelivery_seconds=settings.redelivery_seconds,
            grace_seconds=settings.grace_seconds,
        )
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            command = [sys.executable, "-m", "tests.chaos.worker", *arguments]
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)

    def words(self) -> list[str]:
        return self._log.read_text().splitlines()

    def until(self, word: str, times: int = 1) -> None:
        eventually(lambda: self.words().count(word) >= times)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@contextmanager
def worker_process(settings: Settings, log: Path, *arguments: str) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(settings, log, *arguments)
    try:
        yield worker
    finally:
        worker.end()


@pytest.fixture
def settings(own_valkey: Valkey, database: Database) -> Settings:
    url = database.engine.url.render_as_string(hide_password=False)
    return messaging_settings(own_valkey.url, database_url=url, visibility_seconds=3, redelivery_seconds=2.0)


def test_a_worker_outlives_a_restart_of_the_broker_that_forgot_everything(
    settings: Settings, own_valkey: Valkey, database: Database, tmp_path: Path
) -> None:
    with (
        worker_process(settings, tmp_path / "out", "0") as worker,
        publishing(settings, database) as publisher,
        relaying(publisher),
    ):
        until_done(database, leave(database, "before"))
        own_valkey.kill()
        began = time.monotonic()
        lost = leave(database, "while it was away")
        assert time.monotonic() - began < 5, "a commit waited for the broker"
        eventually(lambda: row(database, lost).due_at)
        own_valkey.restart(keep=False)
        until_done(database, lost, 40)
        until_done(database, leave(database, "after"))
        assert worker.process.poll() is None
        assert worker.words().count("ended while it was away") == 1


def test_a_message_being_handled_while_the_broker_restarts_is_handled_once(
    settings: Settings, own_valkey: Valkey, database: Database, tmp_path: Path
) -> None:
    with (
        worker_process(settings, tmp_path / "out", "2") as worker,
        publishing(settings, database) as publisher,
        relaying(publisher),
    ):
        id = leave(database, "long")
        worker.until("began long")
        own_valkey.restart()
        until_done(database, id, 40)
        until_done(database, leave(database, "next"), 40)
        assert worker.words().count("began long") == 1
        assert worker.words().count("ended next") == 1


def test_a_worker_started_before_its_broker_waits_for_it(
    settings: Settings, own_valkey: Valkey, database: Database, tmp_path: Path
) -> None:
    own_valkey.kill()
    with publishing(settings, database) as publisher, worker_process(settings, tmp_path / "out", "0") as worker:
        worker.until("started")
        id = leave(database)
        assert not broker.ping(settings)
        assert publisher.publish_due() == 0
        own_valkey.restart()
        with relaying(publisher):
            until_done(database, id, 40)


def test_a_killed_worker_s_message_goes_to_another(settings: Settings, database: Database, tmp_path: Path) -> None:
    with publishing(settings, database) as publisher, relaying(publisher):
        with worker_process(settings, tmp_path / "first", "60") as first:
            id = leave(database, "sentiment")
            first.until("began sentiment")
            first.process.kill()
        with worker_process(settings, tmp_path / "second", "0") as second:
            until_done(database, id, 30)
            second.until("ended sentiment")


def test_sigterm_drains(settings: Settings, database: Database, tmp_path: Path) -> None:
    with publishing(settings, database), worker_process(settings, tmp_path / "out", "0.3", "--drain") as worker:
        id = leave(database, "held")
        worker.until("began held")
        waiting = leave(database, "waiting")
        eventually(lambda: row(database, waiting).published_at)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0
        assert worker.words() == ["started", "began held", "draining", "ended held", "drained"]
        assert row(database, id).done_at is not None
        assert row(database, waiting).done_at is None, "a draining worker took another message"
        assert broker.queue_stats(settings)[QUEUE].depth == 1


def test_a_second_signal_ends_a_worker_that_does_not_drain(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    with publishing(settings, database), worker_process(settings, tmp_path / "out", "60") as worker:
        id = leave(database, "stubborn")
        worker.until("began stubborn")
        worker.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert worker.process.poll() is None
        worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(10) == 128 + signal.SIGINT
        assert row(database, id).done_at is None


def test_a_worker_that_does_not_drain_ends_with_its_grace(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    short = settings.model_copy(update={"grace_seconds": 1.0})
    with publishing(short, database), worker_process(short, tmp_path / "out", "60") as worker:
        leave(database, "stubborn")
        worker.until("began stubborn")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(10) == 1
