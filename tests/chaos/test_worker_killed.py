"""Real fine-tuning workers on a real broker, frozen and killed in the middle of a job."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from services.finetuning.workplace import Workplace
from shared.config import child_environment
from shared.messaging.publisher import Publisher
from shared.storage.database import Database
from shared.storage.repositories import jobs
from shared.storage.tables import Run
from tests.integration.finetuning.support import World
from tests.support.tiny_models import tiny_encoder
from tests.support.valkey import Valkey
from tests.support.wait import eventually

PATIENCE = 150
"""Seconds for what takes a few on a machine of one's own."""


@pytest.fixture
def world(database: Database, tmp_path: Path, valkey: Valkey) -> Iterator[World]:
    """A platform without services: what control's leader does, relay and sweeper, is done by a thread."""
    made = World.make(
        database, tmp_path, broker_url=valkey.url, lease_seconds=3, checkpoint_seconds=0.2, redelivery_seconds=5
    )
    made.dataset()
    publisher, over = Publisher(made.settings, database), threading.Event()

    def lead() -> None:
        while not over.wait(0.2):
            made.reclaim()
            publisher.publish_due()

    leader = threading.Thread(target=lead)
    leader.start()
    yield made
    over.set()
    leader.join()
    publisher.close()


@contextmanager
def worker(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m services.finetuning`, ready."""
    settings = world.settings
    environment = child_environment(
        home=settings.home,
        broker_url=settings.broker_url,
        lease_seconds=settings.lease_seconds,
        checkpoint_seconds=settings.checkpoint_seconds,
        redelivery_seconds=settings.redelivery_seconds,
        threads=1,
        log_level="WARNING",
    )
    command = [sys.executable, "-m", "services.finetuning"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["service"] == "finetuning"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def running(world: World, job: str, attempt: int) -> Run | None:
    """The attempt's run once it has a checkpoint in the books."""
    with world.database.read() as session:
        query = select(Run).where(Run.job == job, Run.attempt == attempt)
        run = session.scalars(query).one_or_none()
    return run if run is not None and any(event["step"] for event in world.events(job, "checkpoint")) else None


def alive(pid: int) -> bool:
    """Running or frozen; a zombie that nobody has buried yet is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def holder_pid(run: Run) -> int:
    return int(run.owner.rpartition(":")[2])


def training_pid(world: World, job: str) -> int:
    return int((Workplace(world.settings.home, job).folder / "lock").read_text() or 0)


@pytest.mark.timeout(600)
def test_a_job_outlives_a_worker_frozen_past_its_lease_and_another_one_killed(world: World, tmp_path: Path) -> None:
    base = tiny_encoder(tmp_path / "base")
    with worker(world), worker(world):
        method = {"name": "full", "batch_size": 4, "precision": "float32", "epochs": 150}
        job = world.job(base=str(base), method=method, max_attempts=5)
        first = eventually(lambda: running(world, job, 1), PATIENCE)
        os.kill(holder_pid(first), signal.SIGSTOP)
        second = eventually(lambda: running(world, job, 2), PATIENCE)
        assert holder_pid(second) != holder_pid(first)
        eventually(lambda: world.runs(job)[1].step > 0, PATIENCE)
        orphan = training_pid(world, job)
        os.kill(holder_pid(second), signal.SIGKILL)
        os.kill(holder_pid(first), signal.SIGCONT)
        eventually(lambda: world.get(job).state == "succeeded", PATIENCE)
        assert not alive(orphan)
    runs = world.runs(job)
    assert [run.state for run in runs] == ["lost", "lost", "succeeded"]
    assert [holder_pid(run) == holder_pid(first) for run in runs] == [True, False, True]
    assert runs[2].start_step > 0
    assert [version.run for version in world.versions()] == [runs[2].id]
    assert len(world.evaluations()) == 1


@pytest.mark.timeout(600)
def test_a_worker_asked_to_end_hands_its_job_to_the_next_one(world: World, tmp_path: Path) -> None:
    base = tiny_encoder(tmp_path / "base")
    method = {"name": "full", "batch_size": 4, "precision": "float32", "epochs": 100}
    job = world.job(base=str(base), method=method, max_attempts=1)
    with worker(world):
        eventually(lambda: running(world, job, 1), PATIENCE)
    assert world.get(job).state == "queued"
    assert [run.state for run in world.runs(job)] == ["drained"]
    with worker(world):
        eventually(lambda: world.get(job).state == "succeeded", PATIENCE)
    assert world.runs(job)[1].start_step > 0
    with world.database.read() as session:
        kinds = [event.detail.get("state") for event in jobs.events_after(session, job, 0) if event.kind == "state"]
    assert kinds == ["queued", "running", "queued", "running", "succeeded"]
