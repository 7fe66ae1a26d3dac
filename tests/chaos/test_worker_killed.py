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

from services.finetuning.workplace import Workplace
from shared.config import child_environment
from shared.messaging.publisher import Publisher
from shared.storage.database import Database
from shared.storage.migrate import migrate
from shared.storage.tables import Run
from tests.integration.finetuning.support import World
from tests.support.tiny_models import tiny_encoder
from tests.support.valkey import Valkey
from tests.support.wait import eventually

PATIENCE = 150
"""Seconds for what takes a few on a machine of one's own."""


@pytest.fixture
def world(tmp_path: Path, valkey: Valkey) -> Iterator[World]:
    """A platform without services: what control's leader does, relay and sweeper, is done by a thread."""
    url = f"sqlite:///{tmp_path / 'flywheel.db'}"
    migrate(url)
    database = Database(url)
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
    database.close()


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
    assert process.stdout is not None
    try:
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


def run_with_checkpoint(world: World, job: str, attempt: int) -> Run:
    """The attempt's run, once it has begun to train and the job has a checkpoint in the books."""

    def under_way() -> Run:
        runs = [run for run in world.runs(job) if run.attempt == attempt and run.first_step_at]
        assert runs
        assert world.events(job, "checkpoint")
        return runs[0]

    return eventually(under_way, PATIENCE)


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
        first = run_with_checkpoint(world, job, 1)
        with world.database.write():  # frozen inside a transaction it would keep SQLite's lock, and nobody could go on
            os.kill(holder_pid(first), signal.SIGSTOP)
        second = run_with_checkpoint(world, job, 2)
        assert holder_pid(second) != holder_pid(first)
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
def test_a_worker_asked_to_end_puts_its_job_back_with_a_checkpoint(world: World, tmp_path: Path) -> None:
    base = tiny_encoder(tmp_path / "base")
    method = {"name": "full", "batch_size": 4, "precision": "float32", "epochs": 200}
    job = world.job(base=str(base), method=method, max_attempts=1)
    with worker(world) as process:
        run_with_checkpoint(world, job, 1)
        child = training_pid(world, job)
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert not alive(child)
    assert world.get(job).state == "queued"
    (run,) = world.runs(job)
    assert run.state == "drained"
    newest = world.events(job, "checkpoint")[-1]
    assert newest["step"] >= run.step > 0
    assert world.messages("finetuning.run_job") == 2
