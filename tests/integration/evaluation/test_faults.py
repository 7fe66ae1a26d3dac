"""What may go wrong while a version is judged: it is judged once all the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import select

from services.evaluation.handler import Evaluating
from shared.contracts.routes import CONSIDER_VERDICT, EVALUATE_MODEL_VERSION
from shared.errors import NotFound, Unavailable
from shared.messaging import dead_letters
from shared.storage.artifacts import Artifacts
from shared.storage.database import Database
from shared.storage.repositories import evaluations
from shared.storage.tables import DeadLetter, Evaluation
from tests.integration.evaluation.world import NAME, World, sentiment_rows
from tests.support.wait import eventually

RULES = {"floors": {"accuracy": 0.8}, "champion": {"metric": "accuracy", "margin": 0.02}}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    world = World(database, tmp_path, "classification", RULES, lease_seconds=30, max_attempts=2)
    world.batch("first", sentiment_rows(40))
    world.dataset(1, ["first"])
    return world


class StoreThatTells(Artifacts):
    """Calls back when outputs of a model are about to be kept: the evaluation is half way then."""

    def __init__(self, world: World, half_way: threading.Event, go_on: threading.Event) -> None:
        super().__init__(world.settings.resolved_artifacts_url, world.settings.cache_folder)
        self._half_way, self._go_on = half_way, go_on

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        self._half_way.set()
        assert self._go_on.wait(20)
        with super().create(uri) as file:
            yield file


def test_ten_deliveries_at_once_to_two_workers_make_one_report(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    handlers = [world.handler(), world.handler()]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: world.evaluate(version, handlers[number % 2]), range(10)))
    assert len(world.reports(version)) == 1
    assert world.sent(CONSIDER_VERDICT.task) == 1
    assert world.evaluation(version).attempt == 1


def test_asking_again_for_a_judged_version_changes_nothing(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    world.judge(version)
    with world.database.write() as session:
        assert evaluations.request(session, NAME, version).state == "succeeded"
    world.evaluate(version)
    assert len(world.reports(version)) == 1


def test_a_worker_killed_half_way_leaves_one_report_after_the_next_one_took_over(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    place = Path(__file__).with_name("dying_worker.py")
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "FLYWHEEL_HOME": str(world.settings.home), "PYTHONPATH": root}
    arguments = [sys.executable, str(place), str(world.database.engine.url), NAME, str(version)]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "half way\n"
        assert world.evaluation(version).state == "running"
        worker.send_signal(signal.SIGKILL)
    world.evaluate(version)
    assert world.reports(version) == [], "the dead worker's lease still holds"
    assert eventually(lambda: reclaim(world)) == [world.evaluation(version).id]
    assert world.sent(EVALUATE_MODEL_VERSION.task) == 2
    world.forget_weights(version)  # What the dead worker had computed is taken up, not computed again.
    assert world.judge(version).verdict == "pass"
    assert world.evaluation(version).attempt == 2


def test_a_worker_that_keeps_dying_is_given_up(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    for _ in range(world.settings.max_attempts):
        with world.database.write() as session:
            assert evaluations.take(session, NAME, version, "dying", 0.01)
        eventually(lambda: reclaim(world))
    held = world.evaluation(version)
    assert (held.state, held.error) == ("failed", "the worker dying fell silent")
    assert dead(world) == [held.id]


def test_a_worker_that_lost_its_lease_writes_nothing(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    half_way, go_on = threading.Event(), threading.Event()
    slow = Evaluating(world.settings, world.database, StoreThatTells(world, half_way, go_on))
    with ThreadPoolExecutor(1) as pool:
        judged = pool.submit(world.evaluate, version, slow)
        assert half_way.wait(20)
        with world.database.write() as session:
            row = evaluations.get(session, NAME, version)
            row.fence, row.owner = row.fence + 1, "another"
        go_on.set()
        judged.result(20)
    assert world.reports(version) == []
    assert (world.state(version), world.evaluation(version).state) == ("trained", "running")


def test_the_lease_is_renewed_while_the_work_lasts(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    half_way, go_on = threading.Event(), threading.Event()
    settings = world.settings.model_copy(update={"lease_seconds": 2})
    slow = Evaluating(settings, world.database, StoreThatTells(world, half_way, go_on))
    with ThreadPoolExecutor(1) as pool:
        judged = pool.submit(world.evaluate, version, slow)
        assert half_way.wait(20)
        until = time.monotonic() + 1.5 * settings.lease_seconds
        while time.monotonic() < until:
            assert reclaim(world) == []
            time.sleep(0.1)
        go_on.set()
        judged.result(20)
    assert len(world.reports(version)) == 1


def test_a_draining_worker_gives_the_evaluation_back_uncounted(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    world.draining.set()
    with pytest.raises(Unavailable, match="draining"):
        world.evaluate(version)
    held = world.evaluation(version)
    assert (held.state, held.attempt, held.lease_expires_at) == ("queued", 0, None)
    world.draining.clear()
    assert world.judge(version).verdict == "pass"


def test_a_champion_promoted_meanwhile_means_judging_again(world: World, good: Path, spoiled: Path) -> None:
    world.judge(world.trained(good, 1))
    second = world.trained(spoiled, 1)
    half_way, go_on = threading.Event(), threading.Event()
    slow = Evaluating(world.settings, world.database, StoreThatTells(world, half_way, go_on))
    with ThreadPoolExecutor(1) as pool:
        judged = pool.submit(world.evaluate, second, slow)
        assert half_way.wait(20)
        world.crown(1)
        go_on.set()
        with pytest.raises(Unavailable, match="champion of reviews changed"):
            judged.result(20)
    assert world.reports(second) == []
    report = world.judge(second)
    assert (report.champion, report.worse_than_champion) == (1, True)


def test_broken_weights_fail_after_their_attempts_and_a_replay_starts_afresh(world: World, good: Path) -> None:
    version = world.trained(good, 1)
    world.spoil_weights(version)
    with pytest.raises(Unavailable, match="DataCorrupted"):
        world.evaluate(version)
    assert world.evaluation(version).state == "queued"
    world.evaluate(version)
    held = world.evaluation(version)
    assert (held.state, world.state(version)) == ("failed", "trained")
    assert "SHA-256" in held.error
    assert dead(world) == [held.id]
    world.evaluate(version)
    assert world.evaluation(version).state == "failed", "a late duplicate does not start it again"
    with world.database.write() as session:
        dead_letters.replay(session, session.scalars(select(DeadLetter.id)).one())
    with pytest.raises(Unavailable, match="DataCorrupted"):
        world.evaluate(version)
    assert world.evaluation(version).attempt == 1


def test_an_evaluation_that_nobody_asked_for_is_an_error(world: World) -> None:
    with pytest.raises(NotFound, match="nobody asked"):
        world.evaluate(7)


def reclaim(world: World) -> list[str]:
    with world.database.write() as session:
        return evaluations.reclaim_lost(session, world.settings.max_attempts)


def dead(world: World) -> list[str]:
    """Evaluations that dead letters are about."""
    with world.database.read() as session:
        ids = session.scalars(select(Evaluation.id)).all()
        letters = session.scalars(select(DeadLetter)).all()
        return [letter.detail["evaluation"] for letter in letters if letter.detail["evaluation"] in ids]
