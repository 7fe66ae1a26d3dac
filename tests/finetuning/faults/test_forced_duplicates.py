"""A run longer than the broker's visibility timeout, its message delivered again and again to two workers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from services.finetuning.workplace import Workplace
from shared.config import child_environment
from shared.contracts.messages import RunJob
from shared.contracts.routes import RUN_JOB
from shared.messaging.claims import UNACKED_INDEX
from shared.storage import outbox
from shared.storage.database import Database
from shared.storage.tables import JobEvent, OutboxMessage
from tests.integration.finetuning.support import World
from tests.support.messaging import publishing, relaying
from tests.support.valkey import Valkey
from tests.support.wait import eventually

pytestmark = pytest.mark.timeout(600)
PATIENCE = 250
COPIES = 5


@contextmanager
def working(world: World) -> Iterator[None]:
    """A worker with room for a duplicate beside a run."""
    settings = world.settings
    environment = child_environment(
        home=settings.home,
        broker_url=settings.broker_url,
        database_url=world.database.engine.url.render_as_string(hide_password=False),
        visibility_seconds=settings.visibility_seconds,
        redelivery_seconds=settings.redelivery_seconds,
        lease_seconds=settings.lease_seconds,
        concurrency=2,
    )
    command = [sys.executable, "-m", "tests.finetuning.faults.worker", "gated"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        process.terminate()
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


def test_whatever_is_delivered_there_is_one_writer_and_the_losers_write_nothing(
    valkey: Valkey, database: Database, tmp_path: Path
) -> None:
    world = World.make(
        database, tmp_path / "home", broker_url=valkey.url, visibility_seconds=1, redelivery_seconds=2, lease_seconds=30
    )
    world.dataset()
    with publishing(world.settings, database) as publisher, relaying(publisher), working(world), working(world):
        job = world.job()
        eventually(lambda: world.runs(job) and world.runs(job)[0].step == 1, PATIENCE)
        held = world.runs(job)[0]

        eventually(lambda: delivered_again(valkey), PATIENCE, interval=0.05)
        copies = [leave_a_copy(world, job) for _ in range(COPIES)]
        eventually(lambda: handled(world, copies), PATIENCE)
        (run,) = world.runs(job)
        assert (run.id, run.fence, run.state, world.get(job).fence) == (held.id, held.fence, "running", held.fence)
        assert writers(world, job) == {held.attempt}

        place = Workplace(world.settings.home, job)
        assert (place.folder / "attempts").read_text() == "1", "a second training process was begun"
        (place.folder / "gate").touch()
        eventually(lambda: world.get(job).state == "succeeded", PATIENCE)
        eventually(lambda: nothing_left(world), PATIENCE)
    assert deliveries(world) >= 1 + COPIES
    assert [run.state for run in world.runs(job)] == ["succeeded"]
    assert [version.run for version in world.versions()] == [held.id]
    assert len(world.evaluations()) == 1
    assert [event["state"] for event in world.events(job, "state")] == ["queued", "running", "succeeded"]
    assert len(world.events(job, "log")) == 1, "training started once"


def delivered_again(valkey: Valkey) -> bool:
    """Makes the broker believe that nobody has renewed the message for long; whether it has handed it out once more.

    It has when it holds the message no longer, neither as unacknowledged nor in the queue: whoever got it
    second has acknowledged it. That may be the process that runs the job, which drops it unopened.
    """
    with valkey.client() as client:
        tags = client.zrange(UNACKED_INDEX, 0, -1)
        assert isinstance(tags, list)
        if tags:
            client.zadd(UNACKED_INDEX, dict.fromkeys(tags, 1.0), xx=True)
        return not tags and client.llen(RUN_JOB.queue_for("cpu")) == 0


def deliveries(world: World) -> int:
    """Messages that reached a worker, told before anything was done about them."""
    return (world.settings.home / "deliveries").stat().st_size


def leave_a_copy(world: World, job: str) -> str:
    with world.database.write() as session:
        return outbox.put(session, RUN_JOB, RunJob(job=job), device="cpu")


def handled(world: World, ids: list[str]) -> bool:
    with world.database.read() as session:
        rows = session.scalars(select(OutboxMessage).where(OutboxMessage.id.in_(ids))).all()
    return len(rows) == len(ids) and all(row.done_at is not None for row in rows)


def nothing_left(world: World) -> bool:
    """Every message about runs has been handled."""
    with world.database.read() as session:
        query = select(OutboxMessage.id).where(OutboxMessage.task == RUN_JOB.task, OutboxMessage.done_at.is_(None))
        return session.execute(query).first() is None


def writers(world: World, job: str) -> set[int]:
    """Attempts that told of progress."""
    with world.database.read() as session:
        query = select(JobEvent.detail).where(JobEvent.job == job, JobEvent.kind == "progress")
        return {detail["attempt"] for detail in session.scalars(query)}
